"""ASR-BLEU: worked by hand, against sacrebleu, and what of a text counts in which language."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu

from hf_tokcomp.evaluation import Speech
from hf_tokcomp.evaluation.bootstrap import interval
from hf_tokcomp.evaluation.metrics import load_metric
from hf_tokcomp.evaluation.tasks import get_task

HEARD = ["The cat sat, on the mat!", "She saw TWO dogs."]
TRUTHS = [["the cat sat on a mat"], ["She saw two dogs"]]


def test_worked_by_hand() -> None:
    """Ten words are heard; normalised, "two" is "2" on both sides, and case and punctuation are gone.

    Found of all n-grams: 9 of 10 words ("the" counts once), 6 of 8 pairs ("on the", "the mat" are not there), 4 of 6
    triples, 2 of 4 of four. Both sides have ten words, so that there is no brevity penalty.
    """
    metric = load_metric("asr_bleu")
    statistics = metric.statistics(HEARD, TRUTHS)
    assert statistics.sum(0).tolist() == [9, 6, 4, 2, 10, 8, 6, 4, 10, 10]
    by_hand = 100 * math.exp(sum(map(math.log, (9 / 10, 6 / 8, 4 / 6, 2 / 4))) / 4)
    assert by_hand == pytest.approx(68.87, abs=0.01)
    assert float(metric.value(statistics.sum(0))) == pytest.approx(by_hand)
    heard, truths = ["the cat sat on the mat", "she saw 2 dogs"], ["the cat sat on a mat", "she saw 2 dogs"]
    assert sacrebleu.corpus_bleu(heard, [truths], tokenize="13a").score == pytest.approx(by_hand)
    assert float(load_metric("bleu").compute(predictions=HEARD, references=TRUTHS)["bleu"]) < 40


def test_characters_where_there_are_no_spaces() -> None:
    heard, truths = ["你好,世界。", "今天天气好"], ["你好世界", "今天天气很好"]
    task = Speech("w", "zh").task(get_task("s2st"), {})
    assert task.metric_options["bleu"] == {"tokenize": "char"}
    metric = load_metric("asr_bleu", **task.metric_options["asr_bleu"])
    found = metric.compute(predictions=heard, references=[[truth] for truth in truths])["asr_bleu"]
    plain = ["你好 世界", "今天天气好"]
    assert found == pytest.approx(sacrebleu.corpus_bleu(plain, [truths], tokenize="char").score)
    words = load_metric("asr_bleu", language="zh").compute(predictions=heard, references=[[t] for t in truths])
    assert words["asr_bleu"] < found
    assert "tok:char" in metric.settings["signature"]


@pytest.mark.parametrize(("language", "tokenize"), [("de", "13a"), ("ja", "char"), ("th", "char"), ("ko", "13a")])
def test_the_tokenizer_follows_the_language(language: str, tokenize: str) -> None:
    options = Speech("w", language).task(get_task("s2st"), {"colour": "color"}).metric_options
    assert options["asr_bleu"]["tokenize"] == options["bleu"]["tokenize"] == tokenize
    settings = load_metric("asr_bleu", **options["asr_bleu"]).settings
    assert settings["normaliser"].startswith("BasicTextNormalizer of transformers ")
    assert settings["language"] == language
    assert "spellings" not in settings


def test_spellings_count_in_english_alone() -> None:
    one, other = ["a colour and a half of it"], [["a color and a half of it"]]
    for language, spellings, right in (
        ("en", {"colour": "color"}, True),
        ("en", {}, False),
        ("de", {"colour": "color"}, False),
    ):
        metric = load_metric("asr_bleu", language=language, spellings=spellings)
        assert (float(metric.value(metric.statistics(one, other)[0])) == pytest.approx(100)) == right
    assert load_metric("asr_bleu", spellings={"colour": "color"}).settings["spellings"] == "a list of 1"


def test_silence_is_no_match() -> None:
    metric = load_metric("asr_bleu")
    assert float(metric.value(metric.statistics(["", "..."], [["a word"], ["b"]]).sum(0))) == 0
    assert np.isfinite(metric.statistics([""], [["?"]])).all()


def test_languages_by_code_and_by_name() -> None:
    assert Speech("w", "English").language == Speech("w", " EN").language == "en"
    assert Speech("w", "mandarin").language == "zh"
    with pytest.raises(ValueError, match="no language 'englisch': did you mean 'english'"):
        Speech("w", "englisch")
    prompts = Speech("w", "haitian creole").task(get_task("s2st"), {}).prompts
    assert prompts[""] == "Translate the speech into Haitian Creole."


def test_one_recording_says_nothing_about_others() -> None:
    metric = load_metric("asr_bleu")
    low, high = interval(metric.statistics(HEARD, TRUTHS), [["a"], ["a"]], metric.value, resamples=50)
    assert math.isnan(low)
    assert math.isnan(high)
