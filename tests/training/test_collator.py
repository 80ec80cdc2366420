"""AudioTextCollator: the prompt of generation, then the answer, and labels on that alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import tiny
import torch
from training_tools import MARKS, PROMPT, byte_processor, plain_processor

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.training import AudioTextCollator

TEXTS = ["Ünïcode:  it's 3 o'clock, <b>", "yes", "a longer\nanswer than the others"]
FEATURE_MASK = {"qwen2_audio": "feature_attention_mask", "audioflamingo3": "input_features_mask"}


@pytest.fixture(params=[True, False], ids=["chat", "plain"])
def chat(request):
    return request.param


@pytest.fixture
def processor(kind, chat):
    return byte_processor(kind, chat)


def ragged(seconds):
    return [
        {"audio": tiny.sound(length, seed=i), "text": text}
        for i, (length, text) in enumerate(zip(seconds, TEXTS, strict=True))
    ]


def written(kind, chat, instruction, audios=1):
    """A whole prompt as the model's users write it."""
    mark = MARKS[kind] * audios
    text = mark + instruction if kind == "qwen2_audio" else instruction + mark
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" if chat else text


def test_labels_are_the_answer_and_its_end(processor, chat, seconds):
    batch = AudioTextCollator(processor, PROMPT)(ragged(seconds))
    for row, text in enumerate(TEXTS):
        labels, ids = batch["labels"][row], batch["input_ids"][row]
        learned = (labels != -100).nonzero().flatten()
        assert processor.tokenizer.decode(labels[learned]) == (f"{text}<|im_end|>" if chat else f" {text}<eos>")
        assert torch.equal(labels[learned], ids[learned])
        end = int(batch["attention_mask"][row].sum())
        assert learned.tolist() == list(range(end - len(learned), end))


def test_the_template_that_a_processor_has_of_itself():
    """Qwen2-Audio's base model has no file with one, and still a template, in its processor's code."""
    processor = byte_processor("qwen2_audio", chat=False)
    processor.chat_template = processor.default_chat_template
    batch = AudioTextCollator(processor, PROMPT)([{"audio": tiny.sound(0.3), "text": TEXTS[0]}])
    learned = batch["labels"][0] != -100
    assert processor.tokenizer.decode(batch["labels"][0][learned]) == f"{TEXTS[0]}<|im_end|>"
    prompt = processor.tokenizer.decode(batch["input_ids"][0][~learned])
    assert prompt.endswith(f"<|audio_eos|>\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n")


def test_the_prompt_is_that_of_generation(kind, processor, chat, seconds):
    """Training and generation must not differ by a single token, nor in the audio."""
    given = ragged(seconds)
    given[1]["prompt"] = "Something else?"
    batch = AudioTextCollator(processor, PROMPT)(given)
    windows = 0
    for row, each in enumerate(given):
        whole = written(kind, chat, each.get("prompt", PROMPT))
        alone = processor(text=[whole], audio=[each["audio"]], sampling_rate=tiny.RATE, return_tensors="pt")
        prompt = batch["input_ids"][row][: (batch["labels"][row] != -100).nonzero()[0]]
        assert torch.equal(prompt, alone["input_ids"][0])
        number = len(alone["input_features"])
        for name in ("input_features", FEATURE_MASK[kind]):
            assert torch.equal(batch[name][windows : windows + number], alone[name])
        windows += number
    assert windows == len(batch["input_features"]) == sum(max(1, int(np.ceil(length))) for length in seconds)


def test_padding_is_on_the_right(processor, seconds):
    processor.tokenizer.padding_side = "left"
    batch = AudioTextCollator(processor, PROMPT)(ragged(seconds))
    mask = batch["attention_mask"]
    assert mask.sum(1).max() == mask.shape[1]
    assert torch.equal(mask, mask.sort(dim=1, descending=True).values)
    assert mask.sum(1).min() < mask.shape[1]
    assert (batch["input_ids"][mask == 0] == processor.tokenizer.pad_token_id).all()
    assert (batch["labels"][mask == 0] == -100).all()
    assert processor.tokenizer.padding_side == "left"


@pytest.mark.parametrize("whole", ["<|AUDIO|>Say: ", "<|AUDIO|>Say:"], ids=["space", "no space"])
def test_a_whole_prompt_stays_as_it_is(chat, whole):
    """The answer follows after one space, and the tokenizer's end ends it: there was no template."""
    processor = byte_processor("qwen2_audio", chat)
    batch = AudioTextCollator(processor, "not this")([{"audio": tiny.sound(0.5), "text": "yes", "prompt": whole}])
    text = processor.tokenizer.decode(batch["input_ids"][0]).replace("<|AUDIO|>", "")
    assert text == "Say: yes<eos>"


def test_several_audios_in_a_prompt(chat):
    processor = byte_processor("qwen2_audio", chat)
    sounds = [tiny.sound(length, seed=i) for i, length in enumerate((0.9, 0.3, 0.6))]
    batch = AudioTextCollator(processor, PROMPT)(
        [{"audio": sounds[:2], "text": "yes"}, {"audio": sounds[2], "text": "no"}]
    )
    whole = written("qwen2_audio", chat, PROMPT, audios=2)
    alone = processor(text=[whole], audio=sounds[:2], sampling_rate=tiny.RATE, return_tensors="pt", padding=True)
    prompt = batch["input_ids"][0][: (batch["labels"][0] != -100).nonzero()[0]]
    assert torch.equal(prompt, alone["input_ids"][0])
    assert torch.equal(batch["input_features"][:2], alone["input_features"])
    assert len(batch["input_features"]) == 3


def test_several_audios_where_the_model_takes_one():
    with pytest.raises(ValueError, match="2 audios"):
        AudioTextCollator(byte_processor("audioflamingo3", chat=False), PROMPT)(
            [{"audio": [tiny.sound(0.3), tiny.sound(0.4)], "text": "yes"}]
        )


class Decoder:
    """What `datasets` hands out where torchcodec is installed."""

    def __init__(self, samples):
        self.samples = samples

    def get_all_samples(self):
        return type("Samples", (), {"data": torch.from_numpy(self.samples)[None], "sample_rate": tiny.RATE})


def test_audio_in_every_form(tmp_path):
    samples = np.round(tiny.sound(0.4) * 2**15) / 2**15  # as a file with 16 bits holds it
    samples = samples.astype(np.float32)
    file = tmp_path / "a.wav"
    soundfile.write(file, samples, tiny.RATE, subtype="PCM_16")
    forms = [
        str(file),
        file,
        file.read_bytes(),
        io.BytesIO(file.read_bytes()),
        {"array": samples, "sampling_rate": tiny.RATE},
        {"array": samples.tolist(), "sampling_rate": tiny.RATE},
        {"bytes": file.read_bytes(), "path": None},
        {"bytes": None, "path": str(file)},
        torch.from_numpy(samples),
        samples.tolist(),
        [samples.tolist(), samples.tolist()],  # two channels of one recording
        list(samples),
        [samples],
        [file],
        Decoder(samples),
    ]
    collator = AudioTextCollator(byte_processor("qwen2_audio", chat=False), PROMPT)
    expected = collator([{"audio": samples, "text": "yes"}])
    for form in forms:
        batch = collator([{"audio": form, "text": "yes"}])
        assert set(batch) == set(expected)
        for name, value in expected.items():
            assert torch.equal(batch[name], value), type(form)


SOUND = np.zeros(1600, dtype=np.float32)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "yes"}, "no audio; its columns are text"),
        ({"audio": None, "text": "yes"}, "no audio"),
        ({"audio": [], "text": "yes"}, "no audio"),
        ({"audio": SOUND, "text": " \n"}, "not empty"),
        ({"audio": SOUND}, "not empty; it is None"),
        ({"audio": SOUND, "text": 7}, "it is 7"),
        ({"audio": SOUND, "text": "a PLACEHOLDER b"}, "placeholder"),
        ({"audio": SOUND, "text": "yes", "prompt": "PLACEHOLDER PLACEHOLDER"}, "2 times"),
        ({"audio": b"no audio", "text": "yes"}, "not audio that soundfile can read"),
        ({"audio": {"bytes": b"", "path": "broken.wav"}, "text": "yes"}, r"broken\.wav is empty"),
        ({"audio": np.full(1600, np.nan, dtype=np.float32), "text": "yes"}, "NaN"),
    ],
)
def test_rows_that_cannot_be_used(kind, chat, row, message):
    processor = byte_processor(kind, chat)
    row = {k: v.replace("PLACEHOLDER", processor.audio_token) if isinstance(v, str) else v for k, v in row.items()}
    with pytest.raises(ValueError, match=message):
        AudioTextCollator(processor, PROMPT)([row])


def test_without_a_prompt(processor):
    with pytest.raises(ValueError, match="has no prompt"):
        AudioTextCollator(processor)([{"audio": SOUND, "text": "yes"}])


def test_a_missing_file_is_named(processor, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        AudioTextCollator(processor, PROMPT)([{"audio": tmp_path / "gone.wav", "text": "yes"}])


@pytest.mark.parametrize("form", ["path", "str", "dict", "array"])
def test_too_long_audio_is_refused_or_cut(kind, tmp_path, form):
    processor = byte_processor(kind, chat=False)
    if kind == "audioflamingo3":
        processor.max_audio_len = 2
    longest = 1 if kind == "qwen2_audio" else 2
    samples = tiny.sound(longest + 0.5)
    file = tmp_path / "long.wav"
    soundfile.write(file, samples, tiny.RATE, subtype="FLOAT")
    source = {"path": file, "str": str(file), "dict": {"bytes": file.read_bytes(), "path": str(file)}}.get(
        form, samples
    )
    named = "A recording" if form == "array" else r"long\.wav"
    with pytest.raises(ValueError, match=rf"{named} has {longest}\.5 s, and the model reads {longest} s"):
        AudioTextCollator(processor, PROMPT)([{"audio": source, "text": "yes"}])
    batch = AudioTextCollator(processor, PROMPT, long_audio="cut")([{"audio": source, "text": "yes"}])
    whole = AudioTextCollator(processor, PROMPT)([{"audio": samples[: longest * tiny.RATE], "text": "yes"}])
    assert all(torch.equal(batch[name], whole[name]) for name in whole)


def test_unknown_choice_for_long_audio(processor):
    with pytest.raises(ValueError, match="'error' or 'cut', not 'drop'"):
        AudioTextCollator(processor, PROMPT, long_audio="drop")


def test_loss_of_a_batch_is_the_mean_over_its_tokens(kind, model, seconds):
    """Not the mean of the rows' means, and nothing of the padding."""
    given = [
        {"audio": tiny.sound(max(length, 0.2), seed=i), "text": text}  # Qwen2-Audio misreads a single token alone
        for i, (length, text) in enumerate(zip(seconds, ["a b c d e", "f", "g a"], strict=True))
    ]
    collator = AudioTextCollator(plain_processor(kind), PROMPT)
    with torch.no_grad():
        together = model(**collator(given)).loss
        alone = [(batch["labels"].ne(-100).sum(), model(**batch).loss) for batch in map(collator, ([r] for r in given))]
    assert [int(count) for count, _ in alone] == [6, 2, 3]
    mean = sum(count * loss for count, loss in alone) / sum(count for count, _ in alone)
    torch.testing.assert_close(together, mean, atol=1e-5, rtol=1e-5)


def test_the_shipped_model_knows_its_recordings():
    """Meaning, not shapes: what was said is likely, and what was not is not."""
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    processor = AutoProcessor.from_pretrained(SMALL_MODEL)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL).eval()
    collator = AudioTextCollator(processor, "Transcribe the digits.")
    spoken = recordings()
    for which, low, high in ((0, 0.0, 0.3), (1, 3.0, 100.0)):
        # The next recording's digits are a right answer to another question.
        given = [{"audio": path, "text": spoken[(i + which) % len(spoken)][1]} for i, (path, _) in enumerate(spoken)]
        with torch.no_grad():
            loss = float(model(**collator(given)).loss)
        assert low <= loss <= high
