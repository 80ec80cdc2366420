"""`long_audio`: recordings beyond a window are cut as upstream cuts them, or their windows are one audio."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from drawn import METHODS, config
from subjects import subject_of
from torch import Tensor

import hf_tokcomp
from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.models.announced import PLACEHOLDERS, WINDOWS
from hf_tokcomp.models.registry import PATCHES
from hf_tokcomp.testing.oracle import Prompt, greedy

KIND = "qwen2_audio"
EVERY: dict[str, Any] = {"method": "stride", "retention_ratio": 1.0, "long_audio": "windows"}
BATCH = [[2.63], [1.0, 0.43], [2.0], [3.001]]
"""Seconds per prompt, in windows of a second: a long one, exactly one, exactly two, a last one with little sound."""
NUMBERS, TOKENS = [3, 1, 1, 2, 4], [66, 25, 11, 50, 75]


@pytest.fixture(autouse=True)
def no_grad(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled(bool(request.node.get_closest_marker("grad"))):
        yield


def made(seconds: list[list[float]], compression: Any, side: str = "left", first: int = 0) -> dict[str, Tensor]:
    """The inputs of a processor patched with this compression; None for one that is not patched.

    ``first`` is the number of the first prompt, of which its words depend.
    """
    of = tiny.processor(KIND)
    of.tokenizer.padding_side = side
    if compression is not None:
        hf_tokcomp.patch(of, compression)
    texts = [tiny.prompt(KIND, len(own), " ".join(tiny.WORDS[: 2 + i])) for i, own in enumerate(seconds, first)]
    return dict(tiny.process(of, KIND, texts, sounds(seconds)))


def sounds(seconds: list[list[float]]) -> list[np.ndarray]:
    """Recordings that depend on their own length alone, so that they are the same in every batch."""
    return [tiny.sound(length, seed=int(100 * length)) for own in seconds for length in own]


def pieces(samples: np.ndarray) -> list[np.ndarray]:
    return [samples[start : start + tiny.RATE] for start in range(0, len(samples), tiny.RATE)]


def encoded(model: Any, samples: np.ndarray) -> tuple[Tensor, Tensor]:
    """What upstream's encoder, and its projector, make of a recording of one window: ``(tokens, dim)`` each."""
    seen = dict[str, Tensor]()
    inputs = tiny.process(tiny.processor(KIND), KIND, [tiny.prompt(KIND)], [samples])
    count = int((inputs["input_ids"] == model.config.audio_token_id).sum())

    def keep(_module: Any, args: tuple[Tensor], output: Tensor) -> None:
        seen["features"], seen["projected"] = args[0][0, :count], output[0, :count]

    with model.model.multi_modal_projector.register_forward_hook(keep):
        model(**inputs)
    return seen["features"], seen["projected"]


def whole_prompt(model: Any, seconds: list[float], row: int, compression: CompressionConfig) -> Prompt:
    """A prompt of which upstream would have read all windows' tokens, and its slots, for `stride` alone."""
    ids = made([seconds], None, first=row)["input_ids"]
    token = model.config.audio_token_id
    embeds, positions, place = [], [], 0
    columns, audios = ids[0].tolist(), iter(sounds([seconds]))
    for i, column in enumerate(columns):
        if column != token:
            embeds.append(model.get_input_embeddings()(ids[0, i : i + 1]))
            positions.append(place)
            place += 1
        elif columns[i - 1] != token:
            projected = torch.cat([encoded(model, piece)[1] for piece in pieces(next(audios))])
            kept = stride_slots(len(projected), compression.output_length(len(projected), 25.0))
            embeds.append(projected[kept])
            positions += [place + slot for slot in kept]
            place += len(projected)
    following = place
    if compression.positions == "contiguous":
        following = len(positions)
        positions = list(range(following))
    return Prompt(torch.cat(embeds)[None], torch.tensor([positions]), following)


def stride_slots(n: int, count: int) -> list[int]:
    compressor = hf_tokcomp.AudioTokenCompressor.from_config(
        CompressionConfig(method="stride", max_tokens=max(1, count))
    )
    tokens = hf_tokcomp.AudioTokens(torch.zeros(1, n, 2), torch.tensor([n]))
    return compressor(tokens).positions[0, :count].tolist() if n else []


def test_processor_writes_one_run_per_audio() -> None:
    inputs, upstream = made(BATCH, EVERY | {"retention_ratio": 0.5}), tiny.processor(KIND)
    assert inputs[WINDOWS].tolist() == NUMBERS
    assert inputs[PLACEHOLDERS].tolist() == [33, 13, 6, 25, 38]
    token = upstream.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    assert (inputs["input_ids"] == token).sum(1).tolist() == [33, 19, 25, 38]
    parts = [piece for samples in sounds(BATCH) for piece in pieces(samples)]
    wanted = upstream(
        text=["<|AUDIO|>"] * len(parts), audio=parts, sampling_rate=tiny.RATE, return_tensors="pt", padding=True
    )
    assert torch.equal(inputs["input_features"], wanted["input_features"])
    assert torch.equal(inputs["feature_attention_mask"], wanted["feature_attention_mask"])


def test_chat_template_that_tokenizes() -> None:
    of = hf_tokcomp.patch(tiny.processor(KIND), EVERY)
    of.chat_template = (
        "{% for m in messages %}{% for c in m['content'] %}"
        "{% if c['type'] == 'audio' %}<|audio_bos|> <|AUDIO|> <|audio_eos|> {% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}{% endfor %}"
    )
    turns = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "audio", "audio": s} for s in sounds([own])),
                    {"type": "text", "text": "what is"},
                ],
            }
        ]
        for own in BATCH
    ]
    options: dict[str, Any] = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    inputs = of.apply_chat_template(turns, processor_kwargs={"padding": True}, **options)
    assert inputs[WINDOWS].tolist() == NUMBERS
    assert inputs[PLACEHOLDERS].tolist() == TOKENS
    model = hf_tokcomp.patch(tiny.model(KIND), EVERY)
    model(**inputs)
    assert model.audio_compressor.last.tokens_before == TOKENS


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_equals_upstreams_windows_put_one_after_another(ratio: float, positions: str) -> None:
    compression = CompressionConfig(**EVERY | {"retention_ratio": ratio, "positions": positions})
    plain = tiny.model(KIND)
    wanted = [greedy(plain, whole_prompt(plain, own, row, compression), 4) for row, own in enumerate(BATCH)]
    model = hf_tokcomp.patch(copy.deepcopy(plain), compression)
    for of in (compression, EVERY):  # a prompt that the processor shortened, and one that it did not
        for side in ("left", "right"):
            inputs = made(BATCH, of, side)
            outputs = model(**inputs)
            last = model.audio_compressor.last
            assert last.tokens_before == TOKENS
            for row, (logits, _) in enumerate(wanted):
                torch.testing.assert_close(outputs.logits[row][last.columns[row] >= 0], logits, atol=2e-4, rtol=1e-4)
        inputs = made(BATCH, of)
        said = model.generate(**inputs, max_new_tokens=4, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        assert said.tolist() == [ids for _, ids in wanted]


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"none"}))
def test_a_batch_is_its_rows(method: str) -> None:
    compression = config(method, retention_ratio=0.3, positions="original", long_audio="windows")
    torch.manual_seed(0)  # for the weights of a method that learns
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    together = model(**made(BATCH, compression)).logits
    last = model.audio_compressor.last
    assert last.tokens_before == TOKENS
    kept = iter(last.tokens_after)
    for row, own in enumerate(BATCH):
        alone = model(**made([own], compression, first=row)).logits[0]
        assert model.audio_compressor.last.tokens_after == [next(kept) for _ in own]
        torch.testing.assert_close(together[row][last.columns[row] >= 0], alone, atol=2e-4, rtol=1e-4)


def test_methods_get_the_windows_of_an_audio_in_a_row() -> None:
    seen: list[hf_tokcomp.AudioTokens] = []

    def tokens_of(inputs: dict[str, Tensor]) -> hf_tokcomp.AudioTokens:
        with model.audio_compressor.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
            model(**inputs)
        return seen.pop()

    stages = ["top_k", {"method": "ltbm", "similarity": "keys"}]
    model = hf_tokcomp.patch(tiny.model(KIND), {"method": "compose", "stages": stages, "long_audio": "windows"})
    together = tokens_of(made(BATCH, EVERY))
    assert together.counts == TOKENS
    for audio, (samples, count) in enumerate(zip(sounds(BATCH), TOKENS, strict=True)):
        parts = [tiny.process(tiny.processor(KIND), KIND, [tiny.prompt(KIND)], [piece]) for piece in pieces(samples)]
        alone = [tokens_of(dict(part)) for part in parts if (part["input_ids"] == 3).any()]
        for name in ("features", "attention", "keys"):
            wanted = torch.cat([getattr(each, name)[0, : each.counts[0]] for each in alone])
            torch.testing.assert_close(getattr(together, name)[audio, :count], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"max_tokens": 30}, [30, 25, 11, 30, 30]),
        ({"tokens_per_second": 5}, [13, 5, 2, 10, 15]),
        # The best token of every half second, also of those that lie in two windows.
        ({"method": "segmentwise_top_k", "max_tokens": 6, "segments": 6}, [6, 6, 6, 6, 6]),
    ],
)
def test_one_budget_and_one_time_for_the_whole(options: dict[str, Any], kept: list[int]) -> None:
    compression = {"method": "stride", "long_audio": "windows"} | options
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    model(**made(BATCH, compression))
    last = model.audio_compressor.last
    assert last.tokens_after == kept
    for audio, (n, k) in enumerate(zip(TOKENS, kept, strict=True)):
        begins = last.times[audio, :k, 0]
        part = begins * 25 * k / n  # which of the equal parts of the whole a slot begins in
        assert (part - torch.arange(k)).abs().max() <= (1 if "method" in options else 0.6)


def test_beams_and_a_cache_that_goes_on() -> None:
    compression = EVERY | {"retention_ratio": 0.3, "positions": "original"}
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    short, long = made(BATCH[:1], compression), made(BATCH[:1], EVERY)
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
    for more in ({}, {"num_beams": 3}, {"use_cache": False}):
        found = [
            model.generate(**each, **options, **more)[:, each["input_ids"].shape[1] :].tolist()
            for each in (short, long)
        ]
        assert found[0] == found[1]
    cache = model(**long, use_cache=True)
    ids = torch.cat([long["input_ids"], torch.tensor([[9, 10]])], 1)
    mask = torch.ones_like(ids)
    step = model(
        input_ids=ids[:, -2:],
        attention_mask=mask,
        **{name: cache[name] for name in cache if "cache" in name or "past" in name},
    )
    whole = long | {"input_ids": ids, "attention_mask": mask}
    torch.testing.assert_close(step.logits[0], model(**whole).logits[0, -2:], atol=2e-4, rtol=1e-4)


@pytest.mark.grad
def test_training_with_labels() -> None:
    compression = EVERY | {"method": "average_pooling", "retention_ratio": 0.5}
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    losses = []
    for of in (compression, EVERY):
        inputs = made(BATCH, of, "right")
        labels = inputs["input_ids"].clone()
        labels[(labels == 3) | (inputs["attention_mask"] == 0)] = -100
        model.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for part in (model.model.audio_tower.conv1, model.model.multi_modal_projector.linear):
        assert float(part.weight.grad.abs().sum()) > 0


def test_gradient_reaches_every_window() -> None:
    compression = EVERY | {"method": "average_pooling", "retention_ratio": 0.2}
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    inputs = made([[2.63]], compression)
    with torch.enable_grad():
        features = inputs["input_features"].clone().requires_grad_()
        model(**inputs | {"input_features": features}).logits.square().sum().backward()
    assert (features.grad.abs().sum((1, 2)) > 0).tolist() == [True] * 3


def test_count_by_content() -> None:
    """Such a processor cannot know the counts, but it makes the windows all the same."""
    compression = {"method": "segmentation", "long_audio": "windows"}
    inputs = made(BATCH, compression)
    assert (inputs[WINDOWS].tolist(), inputs[PLACEHOLDERS].tolist()) == (NUMBERS, TOKENS)
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    model(**inputs)
    last = model.audio_compressor.last
    assert last.tokens_before == TOKENS
    assert all(k < n for k, n in zip(last.tokens_after, TOKENS, strict=True))
    with pytest.raises(CompressionConfigError, match="patch only the model"):
        hf_tokcomp.patch(tiny.processor(KIND), "segmentation")


def test_without_audio_windows_every_window_is_an_audio(caplog: pytest.LogCaptureFixture) -> None:
    model = hf_tokcomp.patch(tiny.model(KIND), EVERY | {"retention_ratio": 0.3})
    seconds = [[1.0], [0.5]]
    with caplog.at_level(logging.WARNING):
        logits = model(**made(seconds[1:], None)).logits
        assert not caplog.records  # nothing can have been cut off
        for _ in range(2):
            logits = model(**made(seconds, None)).logits
    assert [record.message for record in caplog.records if "`audio_windows`" in record.message] == [caplog.messages[0]]
    assert len(caplog.records) == 1
    hf_tokcomp.patch(model, {"method": "stride", "retention_ratio": 0.3})
    assert torch.equal(model(**made(seconds, None)).logits, logits)


def test_windows_of_ones_own_that_are_not_full() -> None:
    """An audio cut at its pauses: any of its windows may be short."""
    samples = [tiny.sound(length, seed=number) for number, length in enumerate((0.6, 1.0, 0.33))]
    model = tiny.model(KIND)
    of = tiny.processor(KIND)
    made_apart = tiny.process(of, KIND, ["<|AUDIO|> <|AUDIO|> <|AUDIO|> what is"], samples)
    inputs = dict(made_apart)
    wanted = model(**inputs).logits
    hf_tokcomp.patch(model, EVERY)
    torch.testing.assert_close(model(**inputs, audio_windows=[3]).logits, wanted, atol=2e-4, rtol=1e-4)
    assert model.audio_compressor.last.tokens_before == [15 + 25 + 8]


def test_cut_is_upstream_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    of, plain = hf_tokcomp.patch(tiny.processor(KIND), "ltbm"), hf_tokcomp.patch(tiny.processor(KIND), "none")
    texts, audio = [tiny.prompt(KIND)] * 2, [tiny.sound(1.0), tiny.sound(2.5)]
    with caplog.at_level(logging.WARNING):
        tiny.process(of, KIND, texts[:1], audio[:1])
        assert not caplog.records
        inputs = [tiny.process(of, KIND, texts, audio) for _ in range(3)]
    assert len(caplog.records) == 1
    assert "2.5 s is cut" in caplog.messages[0]
    assert "long_audio='windows'" in caplog.messages[0]
    assert WINDOWS not in inputs[0]
    upstream = tiny.process(tiny.processor(KIND), KIND, texts, audio)
    assert torch.equal(inputs[0]["input_features"], upstream["input_features"])
    for name, value in tiny.process(plain, KIND, texts, audio).items():
        assert torch.equal(value, upstream[name])


def test_unpatch_is_exact() -> None:
    model, of = tiny.model(KIND), tiny.processor(KIND)
    inputs = made(BATCH, None)
    before = model(**inputs).logits
    texts, audio = [tiny.prompt(KIND)], [tiny.sound(2.5)]
    upstream = tiny.process(of, KIND, texts, audio)
    hf_tokcomp.patch(of, EVERY)
    hf_tokcomp.patch(model, EVERY)(**made(BATCH, EVERY))
    assert len(tiny.process(of, KIND, texts, audio)["input_features"]) == 3
    hf_tokcomp.unpatch(of)
    hf_tokcomp.unpatch(model)
    after = tiny.process(of, KIND, texts, audio)
    assert upstream.keys() == after.keys()
    assert all(torch.equal(after[name], upstream[name]) for name in upstream)
    assert torch.equal(model(**inputs).logits, before)


def test_saved_and_loaded(tmp_path: Any) -> None:
    compression = EVERY | {"method": "ltbm", "retention_ratio": 0.25}
    model = hf_tokcomp.patch(tiny.model(KIND), compression)
    of = hf_tokcomp.patch(tiny.processor(KIND), compression)
    inputs = made(BATCH, compression)
    wanted = model(**inputs).logits
    model.save_pretrained(tmp_path)
    of.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert hf_tokcomp.active_config(again).long_audio == "windows"
    assert torch.equal(again(**inputs).logits, wanted)
    loaded = type(of).from_pretrained(tmp_path, compression=hf_tokcomp.active_config(again))
    same = tiny.process(loaded, KIND, [tiny.prompt(KIND, words="what is")], sounds([[2.63]]))
    assert same[WINDOWS].tolist() == [3]


@pytest.mark.parametrize("model_type", sorted(set(PATCHES) - {KIND}))
def test_models_that_read_long_audio_refuse_it(model_type: str) -> None:
    subject = subject_of(model_type)
    model, of = subject.model(), subject.make_processor()
    for each in (model, of):
        with pytest.raises(
            CompressionConfigError, match=f"'{model_type}(_thinker)?' reads long audio itself; leave out"
        ):
            hf_tokcomp.patch(each, EVERY)
        assert hf_tokcomp.active_config(each) is None


def test_a_model_that_cannot_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(KIND)
    monkeypatch.setattr(type(subject_of(KIND).patch), "long_audio", "cut")
    with pytest.raises(CompressionConfigError, match="'qwen2_audio' cannot read long audio in windows; leave out"):
        hf_tokcomp.patch(model, EVERY)
