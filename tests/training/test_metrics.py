"""What is measured while training, by examples that one can check on paper: metrics of evaluation, by kind of task."""

from __future__ import annotations

import math

import datasets
import evaluate
import pytest

from hf_tokcomp.evaluation.kinds import KINDS, PROMPTS
from hf_tokcomp.evaluation.metrics import WHILE_TRAINING, load_metric
from hf_tokcomp.evaluation.metrics.texts import plain, word_counts
from hf_tokcomp.training.callbacks import metric_of


def test_plain():
    assert plain("  Hello,\tWORLD!  It's  2. ") == "hello world its 2"


def test_word_errors_are_of_all_words_together():
    """1 substitution in 4 words, 2 insertions after 1 word, 1 deletion of 3: 4 of 8, no mean of the rows' rates."""
    truths = ["One, two three four.", "five", "six seven eight"]
    texts = ["one TWO three nine", "five five five", "six eight"]
    assert metric_of("asr")(truths, texts) == {"wer": 50.0, "exact_match": 0.0}


def test_word_errors_beside_right_and_empty_answers():
    assert metric_of("asr")(["a b", "C!"], ["", "c"]) == {"wer": pytest.approx(200 / 3), "exact_match": 50.0}
    assert word_counts("a b", "") == (0, 2, 2)
    assert metric_of("asr")(["a"], ["b c d"])["wer"] == 300.0  # above 100


def test_truths_without_a_word():
    """A truth of punctuation alone has no words: what is said there is inserted."""
    assert metric_of("asr")(["...", "a b"], ["yes", "a b"]) == {"wer": 50.0, "exact_match": 50.0}
    assert word_counts("", "yes") == (0, 1, 0)


def test_bleu_by_hand():
    """Of 6, 5, 4 and 3 n-grams 5, 3, 2 and 1 are right, and the text is as long as its reference."""
    score = metric_of("translation")(["the cat sat on the mat"], ["the cat sat on a mat"])["bleu"]
    assert score == pytest.approx(100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4))


def test_bleu_is_of_the_corpus_cased_and_brief_texts_cost():
    bleu = metric_of("captioning")
    assert bleu(["The cat sat on it."], ["The cat sat on it."])["bleu"] == pytest.approx(100)
    assert bleu(["The cat sat on it."], ["the cat sat on it."])["bleu"] < 90
    both = bleu(["a b c d e f g h", "i j k l"], ["a b c d e f", "i j k l"])["bleu"]
    assert both == pytest.approx(100 * math.exp(1 - 12 / 10))  # everything said is right, 10 of 12 words


@pytest.mark.parametrize("kind", ["question_answering", "multiple_choice"])
def test_accuracy(kind):
    found = metric_of(kind)(["Yes.", "no", "two dogs"], ["yes", "yes", "Two  dogs!"])
    assert found == {"accuracy": pytest.approx(200 / 3)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("truths", "texts"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_not_one_text_for_every_truth(kind, truths, texts):
    said = f"There are {len(texts)} predictions and {len(truths)} lists" if texts else "There is nothing to score"
    with pytest.raises(ValueError, match=said):
        metric_of(kind)(truths, texts)


def test_every_kind_has_metrics():
    assert tuple(WHILE_TRAINING) == KINDS == tuple(PROMPTS)


class Length(evaluate.Metric):
    """A metric of somebody else: one text as the reference of each prediction, as most of `evaluate` have it."""

    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        assert all(isinstance(text, str) for text in references)
        return {"length": sum(map(len, predictions)) / sum(map(len, references))}


def test_metrics_of_evaluate_and_functions_are_taken():
    truths, texts = ["a b", "cd"], ["a x", "cd"]
    assert metric_of(Length())(truths, texts) == {"length": 1.0}
    assert metric_of(load_metric("wer_plain"))(truths, texts) == {"wer_plain": pytest.approx(100 / 3)}
    both = evaluate.combine([load_metric("wer_plain"), load_metric("exact_match")])
    assert metric_of(both)(truths, texts) == {"wer_plain": pytest.approx(100 / 3), "exact_match": 50.0}
    assert metric_of(lambda truths, texts: {"n": len(truths)})(truths, texts) == {"n": 2}
    with pytest.raises(TypeError, match="not int"):
        metric_of(3)
    with pytest.raises(ValueError, match="There is no task 'asd'"):
        metric_of("asd")


def test_our_metrics_are_used_as_any_of_evaluate():
    metric = load_metric("wer_plain")
    metric.add_batch(predictions=["a x"], references=[["a b"]])
    metric.add(prediction="cd", reference=["cd"])
    assert metric.compute() == {"wer_plain": pytest.approx(100 / 3)}
