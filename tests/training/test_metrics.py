"""hf_tokcomp.evaluation.metrics.texts by examples that one can check on paper."""

from __future__ import annotations

import math

import pytest

from hf_tokcomp.evaluation.kinds import KINDS, PROMPTS
from hf_tokcomp.evaluation.metrics.texts import METRICS, accuracy, bleu, plain, word_error_rate, word_errors


def test_plain():
    assert plain("  Hello,\tWORLD!  It's  2. ") == "hello world its 2"


def test_word_errors_are_of_all_words_together():
    """1 substitution in 4 words, 2 insertions after 1 word, 1 deletion of 3: 4 of 8, no mean of the rows' rates."""
    truths = ["One, two three four.", "five", "six seven eight"]
    texts = ["one TWO three nine", "five five five", "six eight"]
    assert word_errors(truths, texts) == {"wer": 4 / 8, "exact_match": 0.0, "wrong": 4, "words": 8}


def test_the_rates_alone():
    assert word_error_rate(["a b", "C!"], ["", "c"]) == {"wer": 2 / 3, "exact_match": 0.5}


def test_word_errors_beside_right_and_empty_answers():
    assert word_errors(["a b", "C!"], ["", "c"]) == {"wer": 2 / 3, "exact_match": 0.5, "wrong": 2, "words": 3}
    assert word_errors(["a"], ["b c d"])["wer"] == 3.0  # above 1


def test_truths_without_a_word():
    """A truth of punctuation alone has no words: what is said there is inserted."""
    assert word_errors(["...", "a b"], ["yes", "a b"]) == {"wer": 0.5, "exact_match": 0.5, "wrong": 1, "words": 2}
    assert word_errors(["..."], ["yes"])["wer"] == 1.0


def test_bleu_by_hand():
    """Of 6, 5, 4 and 3 n-grams 5, 3, 2 and 1 are right, and the text is as long as its reference."""
    score = bleu(["the cat sat on the mat"], ["the cat sat on a mat"])["bleu"]
    assert score == pytest.approx(100 * math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4))


def test_bleu_is_of_the_corpus_cased_and_brief_texts_cost():
    assert bleu(["The cat sat on it."], ["The cat sat on it."])["bleu"] == pytest.approx(100)
    assert bleu(["The cat sat on it."], ["the cat sat on it."])["bleu"] < 90
    both = bleu(["a b c d e f g h", "i j k l"], ["a b c d e f", "i j k l"])["bleu"]
    assert both == pytest.approx(100 * math.exp(1 - 12 / 10))  # everything said is right, 10 of 12 words


def test_accuracy():
    assert accuracy(["Yes.", "no", "two dogs"], ["yes", "yes", "Two  dogs!"]) == {"accuracy": pytest.approx(2 / 3)}


@pytest.mark.parametrize("metric", [word_errors, bleu, accuracy])
@pytest.mark.parametrize(("truths", "texts"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_not_one_text_for_every_truth(metric, truths, texts):
    with pytest.raises(ValueError, match=f"There are {len(truths)} truths and {len(texts)} texts"):
        metric(truths, texts)


def test_tasks():
    spoken = {"asr": word_error_rate, "translation": bleu, "captioning": bleu}
    assert spoken | {"question_answering": accuracy, "multiple_choice": accuracy} == METRICS
    assert tuple(METRICS) == KINDS == tuple(PROMPTS)
