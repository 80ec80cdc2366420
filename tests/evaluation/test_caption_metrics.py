"""Metrics of captions equal pycocoevalcap's own scores, and their words are those of COCO's evaluation."""

from __future__ import annotations

import math
import random
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocoevalcap.cider.cider", reason="pycocoevalcap is not installed")

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer

from hf_tokcomp.evaluation.metrics import load_metric
from hf_tokcomp.evaluation.metrics.ptb import penn_treebank, simple

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no java on the PATH")
NAMES = ["cider", "rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4"]
ORDINARY = [
    "A dog barks twice, then a man's voice says hello.",
    "Birds sing; cars don't stop...",
    "High-pitched beeping - and then silence!",
    "Someone says: \"I'm here\", and they're laughing",
    "A vehicle drives by at 3.5 miles, a bell rings 2 times",
    "Music plays -- loud drums?",
    "Café noise and the sound of a saxophone",
]


def corpus(seed: int, items: int = 12):
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(15)]

    def text() -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, 9)))

    # Texts with one word too many, texts with their words in another order, and one that is empty.
    references = [[text() for _ in range(rng.randint(1, 5))] for _ in range(items)]
    texts = [f"{truths[0]} w1" for truths in references]
    for item in range(0, items, 3):
        texts[item] = " ".join(sorted(texts[item].split()))
    texts[4] = ""
    return texts, references


def official(name: str, texts, references) -> float:
    truth, said = dict(enumerate(references)), {item: [text] for item, text in enumerate(texts)}
    if name == "cider":
        return Cider().compute_score(truth, said)[0]
    if name == "rouge_l":
        return Rouge().compute_score(truth, said)[0]
    return Bleu(4).compute_score(truth, said, verbose=0)[0][int(name[-1]) - 1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_pycocoevalcap(name, seed, capfd):
    texts, references = corpus(seed)
    found = load_metric(name, tokenizer="simple").compute(predictions=texts, references=references)[name]
    assert found == pytest.approx(official(name, texts, references), rel=1e-9, abs=1e-12)
    assert found > 0.001
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["rouge_l", "bleu_1", "bleu_4"])
def test_weights_are_repeated_items(name):
    texts, references = corpus(7)
    metric = load_metric(name, tokenizer="simple")
    counts = np.random.default_rng(0).integers(0, 3, size=len(texts))
    repeated = [item for item, count in enumerate(counts) for _ in range(count)]
    expected = official(name, [texts[item] for item in repeated], [references[item] for item in repeated])
    assert metric.value(counts.astype(float) @ metric.statistics(texts, references)) == pytest.approx(expected)


def test_cider_by_hand():
    # Two items. n-grams in the references of one of them have idf log 2, those in both ("a") 0; the length's penalty is
    # exp(-1 / 72) for one word more or less. Item 0 says "a dog dog": its unigrams are (dog: 2 log 2), of which one is
    # clipped away, against (dog: log 2): (1 * 1) / (2 * 1). Its bigrams "a dog", "dog dog" against "a dog": 1 / sqrt 2.
    metric = load_metric("cider", tokenizer="simple")
    statistics = metric.statistics(["a dog dog", "a bird"], [["a dog"], ["a cat"]])
    penalty = math.exp(-1 / (2 * 6**2))
    assert statistics[0] == pytest.approx([10 * penalty * (1 / 2 + 1 / math.sqrt(2)) / 4, 1])
    assert statistics[1].tolist() == [0, 1]
    assert metric.value(statistics.sum(0)) == pytest.approx(statistics[:, 0].mean())


def test_cider_of_a_subset_has_other_weights():
    texts, references = corpus(1)
    metric = load_metric("cider", tokenizer="simple")
    apart = metric.statistics(texts[:6], references[:6])
    assert not np.allclose(metric.statistics(texts, references)[:6], apart)


def test_cider_wants_words():
    with pytest.raises(ValueError, match="No reference of any item has a word"):
        load_metric("cider", tokenizer="simple").statistics(["a"], [["..."]])


def test_rouge_by_hand():
    # Longest common subsequence "a b d" of 4 and 5 words, and "c" of the second reference: the best of each counts.
    metric = load_metric("rouge_l", tokenizer="simple")
    precision, recall, square = 3 / 4, 3 / 5, 1.2**2
    expected = (1 + square) * precision * recall / (recall + square * precision)
    assert metric.statistics(["a b c d"], [["a x b y d", "q c"]])[0] == pytest.approx([expected, 1])


def test_bleu_1_by_hand():
    # 3 of 4 words, "a" counted once; the nearest reference has 5 words.
    metric = load_metric("bleu_1", tokenizer="simple")
    statistics = metric.statistics(["a a b c"], [["a b c d e", "x x x x x x x x"]])
    assert statistics.tolist() == [[3, 4, 4, 5]]
    assert metric.value(statistics.sum(0)) == pytest.approx(3 / 4 * math.exp(1 - 5 / 4))
    with pytest.raises(ValueError, match="BLEU-1, 2, 3 or 4"):
        load_metric("bleu_4", order=5)


def test_simple_words():
    assert [simple(text) for text in ORDINARY] == [
        "a dog barks twice then a man 's voice says hello",
        "birds sing cars do n't stop",
        "high-pitched beeping and then silence",
        "someone says i 'm here and they 're laughing",
        "a vehicle drives by at 3.5 miles a bell rings 2 times",
        "music plays loud drums",
        "café noise and the sound of a saxophone",
    ]
    assert simple(" \n") == ""


@needs_java
def test_simple_words_of_ordinary_captions_are_those_of_penn_treebank():
    assert [simple(text) for text in ORDINARY] == penn_treebank(ORDINARY)


@needs_java
def test_penn_treebank_is_that_of_coco(capfd):
    texts = [*ORDINARY, "He can't (really) sing \N{EM DASH} gonna stop & go", "two\nlines", "狗在叫。"]
    found = penn_treebank(texts)
    assert capfd.readouterr() == ("", "")
    theirs = ptbtokenizer.PTBTokenizer().tokenize({item: [{"caption": text}] for item, text in enumerate(texts)})
    assert found == [theirs[item][0] for item in range(len(texts))]


@needs_java
def test_texts_without_words_keep_their_places():
    texts = ["", "\u200b", "a dog", "", "...", "a\u2028b\r\nc\x0bd", "\x00", " "]
    assert penn_treebank(texts) == ["", "", "a dog", "", "", "a b c d", "", ""]


@needs_java
def test_nothing_is_written_beside_the_jar():
    folder = Path(ptbtokenizer.__file__).parent
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}, folder.stat().st_mtime_ns
    penn_treebank(["a dog"])
    assert before == ({file: file.stat().st_mtime_ns for file in folder.iterdir()}, folder.stat().st_mtime_ns)


@needs_java
def test_a_real_corpus_scores_as_coco_would():
    references = [[text, text.replace("a", "the")] for text in ORDINARY]
    texts = [text.lower().replace("and", "with") for text in ORDINARY]
    cut = penn_treebank([*texts, *(truth for truths in references for truth in truths)])
    pairs = [cut[len(texts) + 2 * item : len(texts) + 2 * item + 2] for item in range(len(texts))]
    for name in NAMES:
        metric = load_metric(name)
        assert metric.settings["tokenizer"].startswith("Penn Treebank")
        found = metric.compute(predictions=texts, references=references)[name]
        assert found == pytest.approx(official(name, cut[: len(texts)], pairs))


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for java")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo bad heap >&2; exit 3", "answered 3.*bad heap"),
        ("echo a dog", "1 lines for 2"),
        ("echo a dog; echo a dog; exit 1", "answered 1"),
    ],
)
def test_a_java_that_fails_is_told(tmp_path, monkeypatch, script, says):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
    java.chmod(java.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match=says):
        load_metric("rouge_l").statistics([f"{script} runs"], [[f"{script} sits"]])  # texts that were never cut before


def test_without_java(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    metric = load_metric("rouge_l")
    assert metric.settings["tokenizer"].startswith("simple (no java)")
    assert metric.compute(predictions=["a dog!"], references=[["A dog."]]) == {"rouge_l": 1.0}
    with pytest.raises(ValueError, match="java on the PATH"):
        load_metric("rouge_l", tokenizer="ptb")
    with pytest.raises(ValueError, match="auto, ptb, simple"):
        load_metric("rouge_l", tokenizer="spacy")


@pytest.mark.parametrize("name", NAMES)
def test_without_the_extra(name, monkeypatch):
    for module in [module for module in sys.modules if module.split(".")[0] == "pycocoevalcap"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(ImportError, match=r'pip install "hf-tokcomp\[eval\]"'):
        load_metric(name)
