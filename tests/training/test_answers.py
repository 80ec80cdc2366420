"""answer(): greedy generation about rows, in their order, alone, in batches and over processes."""

from __future__ import annotations

import pytest
import tiny
from training_tools import MARKS, PROMPT, plain_processor

import hf_tokcomp
from hf_tokcomp.training import AudioTextCollator, answer

CONFIG = {"method": "ltbm", "retention_ratio": 0.4}
LENGTHS = [0.9, 0.3, 0.62, 0.5, 0.77]


@pytest.fixture
def patched(model):
    return hf_tokcomp.patch(model, CONFIG)


@pytest.fixture
def collator(kind):
    return AudioTextCollator(plain_processor(kind), PROMPT)


@pytest.fixture
def questions(kind):
    """Lengths out of order, and, where that is possible, several windows."""
    lengths = LENGTHS if kind == "qwen2_audio" else [2.3, *LENGTHS[1:]]
    return [{"audio": tiny.sound(length, seed=i)} for i, length in enumerate(lengths)]


def one_by_one(model, collator, questions, new=4):
    """By hand: one prompt, one generate."""
    found = []
    mark = MARKS[model.config.model_type]
    for row in questions:
        audios = row["audio"] if isinstance(row["audio"], list) else [row["audio"]]
        parts = [mark * len(audios), row.get("prompt", PROMPT)]
        text = "".join(parts if mark == MARKS["qwen2_audio"] else parts[::-1])
        inputs = collator.processor(text=[text], audio=audios, sampling_rate=tiny.RATE, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=new, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        counts = [len(range(*_tokens(len(samples)))) for samples in audios]
        after = [hf_tokcomp.active_config(model).output_length(count) for count in counts]
        said = collator.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        found.append((said, sum(counts), sum(after)))
    return found


def _tokens(samples):
    """Mel frames (160 samples, every one begun), two convolutions, pooling by two: a range as long as the tokens."""
    frames = -(-samples // 160)
    return 0, ((frames - 1) // 2 + 1 - 2) // 2 + 1


def as_tuples(answers):
    return [(given.text, given.tokens_before, given.tokens_after) for given in answers]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_answers_are_those_of_each_row_alone(patched, collator, questions, batch_size, monkeypatch):
    monkeypatch.setattr("hf_tokcomp.inference.answers.SORTED_TOGETHER", 2)  # several stretches of sorted rows
    questions[2]["prompt"] = "tell me now please"
    expected = one_by_one(patched, collator, questions)
    assert len({said for said, _, _ in expected}) > 1
    found = answer(patched, collator, questions, batch_size=batch_size, max_new_tokens=4)
    assert as_tuples(found) == expected


def test_rows_are_generated_by_length(patched, collator, questions, monkeypatch):
    widths = []
    generate = patched.generate

    def watched(**inputs):
        widths.append(inputs["attention_mask"].sum(1).tolist())
        return generate(**inputs)

    monkeypatch.setattr(patched, "generate", watched)
    answer(patched, collator, questions, batch_size=2, max_new_tokens=1)
    assert [len(batch) for batch in widths] == [2, 2, 1]
    flat = [width for batch in widths for width in batch]
    assert flat == sorted(flat)


def test_several_audios_per_row():
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), CONFIG)
    collator = AudioTextCollator(plain_processor("qwen2_audio"), PROMPT)
    sounds = [tiny.sound(length, seed=i) for i, length in enumerate(LENGTHS)]
    questions = [{"audio": sounds[:2]}, {"audio": sounds[2]}, {"audio": sounds[3:]}]
    found = answer(model, collator, questions, batch_size=3, max_new_tokens=3)
    assert as_tuples(found) == one_by_one(model, collator, questions, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back(patched, collator, questions, training, monkeypatch):
    seen = []
    generate = patched.generate
    monkeypatch.setattr(patched, "generate", lambda **inputs: seen.append(patched.training) or generate(**inputs))
    patched.train(training)
    answer(patched, collator, questions[:1], max_new_tokens=1)
    assert (seen, patched.training) == ([False], training)
    monkeypatch.setattr(patched, "generate", lambda **inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # no empty answer in its place
        answer(patched, collator, questions[:1])
    assert patched.training == training


def test_errors_are_raised(patched, collator, questions):
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        answer(patched, collator, [*questions, {"audio": "gone.wav"}], max_new_tokens=1)
    with pytest.raises(ValueError, match="no audio"):
        answer(patched, collator, [{"text": "yes"}], max_new_tokens=1)


def test_no_rows(patched, collator):
    assert answer(patched, collator, []) == []


def test_the_model_can_be_trained_afterwards(kind, patched, collator, questions):
    """What generation leaves behind must not be of the kind that autograd refuses."""
    answer(patched, collator, questions, max_new_tokens=2)
    patched(**collator([questions[0] | {"text": "a b"}])).loss.backward()
    assert patched.lm_head.weight.grad.abs().max() > 0


def test_options_reach_generate(patched, collator, questions):
    suppressed = collator.processor.tokenizer.convert_tokens_to_ids(tiny.WORDS[:-1])
    found = answer(patched, collator, questions[:2], max_new_tokens=2, suppress_tokens=suppressed)
    assert {word for given in found for word in given.text.split()} <= {tiny.WORDS[-1]}
