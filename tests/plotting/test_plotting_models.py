"""From a model to a picture, in Python and on the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
import torch
from drawn import METHODS as drawn_methods
from drawn import REQUIRED
from shipped import needs_small_model
from test_plotting import by_id, heights, ids, panel_of, spans, words_of

import hf_tokcomp
from hf_tokcomp import CompressionConfig, plotting
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
METHODS = ["top_k", "average_pooling", "none"]


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_picture_shows_what_generate_did(kind: str) -> None:
    model, processor = tiny.model(kind), tiny.processor(kind)
    sound = tiny.sound(0.9637 if kind == "qwen2_audio" else 2.6137)  # one window, or three
    prompt = tiny.prompt(kind)
    figure = plotting.plot(model, processor, sound, METHODS, prompt=prompt, max_new_tokens=4, title="chirp")
    assert hf_tokcomp.active_config(model) is None
    assert ids(figure) == ["spectrogram", "attention-0", "tokens-0", "tokens-1", "tokens-2"]
    assert figure.axes[0].get_xlim() == (0, len(sound) / tiny.RATE)

    inputs = tiny.process(processor, kind, [prompt], [sound])
    words = words_of(figure)
    for number, method in enumerate(METHODS):
        with hf_tokcomp.compressed(model, method):
            out = model.generate(**inputs, max_new_tokens=4, do_sample=False)[:, inputs["input_ids"].shape[1] :]
            last = model.audio_compressor.last
        (text,) = processor.batch_decode(out, skip_special_tokens=True)
        assert f"“{text.strip()}”" in words
        assert any(word.startswith(f"{last.tokens_before[0]} → {last.tokens_after[0]} tokens") for word in words)
        if last.times is not None:
            np.testing.assert_allclose(spans(by_id(figure, f"tokens-{number}-slots")), last.times[0], atol=1e-6)
    assert {"chirp", *METHODS} <= words


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_curve_is_what_the_method_went_by(kind: str) -> None:
    seconds = 0.96 if kind == "qwen2_audio" else 2.6
    figure = plotting.plot(
        tiny.model(kind), tiny.processor(kind), tiny.sound(seconds), ["top_k", "bottom_k"], text=False
    )
    for number, best in enumerate((True, False)):
        scores = np.asarray(by_id(figure, f"attention-{number}").lines[0].get_ydata())
        kept = np.round(spans(by_id(figure, f"tokens-{number}-slots"))[:, 0] * 25).astype(int)
        others = np.setdiff1d(np.arange(len(scores)), kept)
        assert len(scores) == int(seconds * 25)
        if best:
            assert scores[kept].min() >= scores[others].max()
        else:
            assert scores[kept].max() <= scores[others].min()
        np.testing.assert_allclose(heights(by_id(figure, f"attention-{number}-kept")), scores[kept])


def test_curves_for_all_or_none_and_no_text() -> None:
    model, processor, sound = tiny.model("qwen2_audio"), tiny.processor("qwen2_audio"), tiny.sound(0.96)
    given = {"text": False, "prompt": "what"}
    every = plotting.plot(model, processor, sound, METHODS, attention=True, **given)
    assert [name for name in ids(every) if "attention" in name] == ["attention-0", "attention-1", "attention-2"]
    none = plotting.plot(model, processor, sound, METHODS, attention=False, **given)
    assert not any("attention" in name for name in ids(none))
    assert not any("“" in word or word == "what" for word in words_of(none))


def test_model_and_processor_stay_as_they_were() -> None:
    model, processor = tiny.model("audioflamingo3"), tiny.processor("audioflamingo3")
    hf_tokcomp.patch(model, "stride")
    hf_tokcomp.patch(processor, "stride")
    module = model.audio_compressor
    quarter = {"method": "ltbm", "retention_ratio": 0.25}
    figure = plotting.plot(model, processor, tiny.sound(1.5), ["stride", quarter], max_new_tokens=2)
    assert model.audio_compressor is module
    assert hf_tokcomp.active_config(processor) == CompressionConfig(method="stride")
    assert {"37 → 19 tokens (51 %), asked for 19", "37 → 9 tokens (24 %), asked for 9"} <= words_of(figure)


def test_a_learned_compressor_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("qwen2_audio")
    hf_tokcomp.patch(model, "stride")
    seen = []
    monkeypatch.setattr(
        type(model.audio_compressor),
        "assign_slots",
        lambda self, tokens, counts: (
            seen.append(self) or hf_tokcomp.AveragePooling.assign_slots(self, tokens, counts)  # type: ignore[func-returns-value]
        ),
    )
    plotting.plot(model, tiny.processor("qwen2_audio"), tiny.sound(0.9), ["stride"], text=False)
    assert seen == [model.audio_compressor]


def test_headings_name_options_that_were_chosen() -> None:
    config = CompressionConfig(method="ltbm", window=4, retention_ratio=0.25, positions="original")
    figure = plotting.plot(
        tiny.model("qwen2_audio"), tiny.processor("qwen2_audio"), tiny.sound(0.96), [config, "ltbm"], text=False
    )
    assert {"ltbm, positions original, window 4", "ltbm"} <= words_of(figure)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_every_method_has_its_picture(kind: str, tmp_path: Path) -> None:
    model, processor, sound = tiny.model(kind), tiny.processor(kind), tiny.sound(0.96)
    configs = [CompressionConfig.from_dict({"method": name, **REQUIRED.get(name, {})}) for name in drawn_methods]
    figure = plotting.plot(model, processor, sound, configs, prompt=tiny.prompt(kind), text=False, attention=True)
    inputs = tiny.process(processor, kind, [tiny.prompt(kind)], [sound])
    words = [text.get_text() for text in figure.texts]
    for number, config in enumerate(configs):
        with hf_tokcomp.compressed(model, config), torch.no_grad():
            model(**inputs)
            last = model.audio_compressor.last
        counts = words[words.index(next(w for w in words if f"{w},".startswith(f"{config.method},"))) + 1]
        assert counts.startswith(f"{last.tokens_before[0]} → {last.tokens_after[0]} tokens"), config.method
        assert {f"attention-{number}", f"tokens-{number}"} <= set(ids(figure))
    assert plotting.save(figure, tmp_path / "all.png").stat().st_size > 10_000


def test_a_chain_is_headed_by_its_stages() -> None:
    config = CompressionConfig(
        method="compose", stages=[{"method": "ltbm", "retention_ratio": 0.6, "window": 3}, {"method": "stride"}]
    )
    figure = plotting.plot(
        tiny.model("qwen2_audio"), tiny.processor("qwen2_audio"), tiny.sound(0.96), [config], text=False
    )
    assert "compose, stages ltbm (retention_ratio 0.6, window 3) → stride (retention_ratio 0.5)" in words_of(figure)


def test_too_short_an_audio_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"0\.020 s are too short"):
        plotting.plot(tiny.model("qwen2_audio"), tiny.processor("qwen2_audio"), tiny.sound(0.02), ["ltbm"])


# the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plot")
    for kind in tiny.KINDS:
        tiny.model(kind).save_pretrained(folder / kind)
        tiny.processor(kind).save_pretrained(folder / kind)
    soundfile.write(folder / "long.wav", tiny.sound(0.96, 1), tiny.RATE)
    return folder


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `hf-tokcomp plot` in the folder: exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["plot", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were saved."""
    figures: list[Any] = []
    save = plotting.save
    monkeypatch.setattr(plotting, "save", lambda figure, path: (figures.append(figure), save(figure, path))[1])
    return figures


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_plot_writes_a_picture(call: Callable[..., Any], drawn: list[Any], tmp_path: Path, kind: str) -> None:
    file = tmp_path / "picture.png"
    given = ("long.wav", "--model", f"./{kind}", "--max-new-tokens", "2", "-o", str(file))
    options = ("--compression", "none", "--compression", '{"method": "ltbm", "window": 4}', "--retention-ratio", "0.25")
    assert call(*given, *options) == (0, f"Wrote {file}: 2 methods on 1.0 s of audio.\n", "")
    assert file.read_bytes()[:4] == b"\x89PNG"
    words = words_of(drawn[0])
    assert {"long.wav", "none", "ltbm, window 4", "24 → 24 tokens (100 %)"} <= words
    assert "24 → 6 tokens (25 %), asked for 6" in words
    assert "Please describe the audio in detail." in words
    assert sum("“" in word for word in words) == 2


def test_plot_of_more_than_the_model_reads_says_so(
    call: Callable[..., Any], drawn: list[Any], folder: Path, tmp_path: Path
) -> None:
    soundfile.write(folder / "over.wav", tiny.sound(2.5), tiny.RATE)
    file = tmp_path / "picture.svg"
    code, out, err = call("over.wav", "--model", "./qwen2_audio", "-o", str(file), "--no-text")
    assert (code, out) == (0, f"Wrote {file}: 3 methods on the first 1.0 s of 2.5 s of audio.\n")
    assert "the model reads the first 1 s only" in err
    assert "The first 1.0 s of 2.5 s: the model reads no more." in words_of(drawn[0])
    figure = plotting.plot(
        tiny.model("qwen2_audio"), tiny.processor("qwen2_audio"), tiny.sound(2.5), ["ltbm"], text=False
    )
    assert "The first 1.0 s of 2.5 s: the model reads no more." in words_of(figure)


def test_plot_options(call: Callable[..., Any], drawn: list[Any], tmp_path: Path) -> None:
    given = ("long.wav", "--model", "./qwen2_audio", "-o", str(tmp_path / "picture.svg"), "--no-text")
    code, out, _ = call(*given, "--positions", "original", "--attention")
    assert (code, out) == (0, f"Wrote {tmp_path / 'picture.svg'}: 3 methods on 1.0 s of audio.\n")
    names = {"segmentwise_top_k", "average_pooling", "ltbm"}
    assert {f"{name}, positions original" for name in names} <= words_of(drawn[0])
    assert sum("attention" in name for name in ids(drawn[0])) == 3
    assert not any("“" in word for word in words_of(drawn[0]))
    code, out, _ = call(*given, "--compression", "ltbm")
    assert out == f"Wrote {tmp_path / 'picture.svg'}: ltbm on 1.0 s of audio.\n"


def test_plot_draws_the_first_row_of_a_table(
    call: Callable[..., Any], drawn: list[Any], folder: Path, tmp_path: Path
) -> None:
    """Whatever is wrong with the others."""
    (folder / "table.csv").write_text("path,sentence,question\nlong.wav,so be it,Why?\n,x,\n")
    given = ("--model", "./qwen2_audio", "--max-new-tokens", "2", "-o", str(tmp_path / "picture.svg"))
    assert call("--dataset", "table.csv", *given)[0] == 0
    assert {"long.wav", "Why? Truth: “so be it”"} <= words_of(drawn[0])
    assert call("long.wav", "--dataset", "table.csv", *given)[0] == 0
    assert "Please describe the audio in detail." in words_of(drawn[1])


@needs_small_model
def test_plot_without_arguments_draws_what_ships(
    drawn: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "--output", str(tmp_path / "picture.pdf")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.fullmatch(r"Wrote .*picture\.pdf: 3 methods on 5\.1 s of audio\.\n", out)
    path, truth = recordings()[0]
    words = words_of(drawn[0])
    assert {path.name, f"Transcribe the digits. Truth: “{truth}”", "127 → 60 tokens (47 %), asked for 64"} <= words


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "gone/picture.png", "--model", "./gone"], 1, "There is no folder"),
        (["-o", "picture.gif", "--model", "./gone"], 1, "picture.gif must end in .png, .pdf or .svg."),
        (["-o", "picture.png", "--compression", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["-o", "picture.png", "--retention-ratio", "2", "--model", "./qwen2_audio"], 1, "at most 1"),
        (["gone.wav", "-o", "picture.png", "--model", "./qwen2_audio"], 1, "There is no audio file gone.wav."),
        (["long.wav"], 2, "Missing option '--output' / '-o'. See `hf-tokcomp plot --help`."),
    ],
)
def test_plot_errors_are_one_line(
    call: Callable[..., Any], folder: Path, arguments: list[str], code: int, message: str
) -> None:
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert re.fullmatch(r"hf-tokcomp: error: [^\n]+\n", err)
    assert message in err
    assert not (folder / "picture.png").exists()


def test_plot_leaves_no_file_if_the_model_fails(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(hf_tokcomp.LTBM, "assign_slots", broken)
    given = ("long.wav", "--model", "./qwen2_audio", "--compression", "ltbm", "-o", str(tmp_path / "picture.png"))
    assert call(*given) == (1, "", "hf-tokcomp: error: out of luck\n")
    assert list(tmp_path.iterdir()) == []


def test_plot_says_what_to_install(call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("hf_tokcomp.plotting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(hf_tokcomp, "plotting")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = call("-o", str(tmp_path / "picture.png"))
    assert (code, out) == (1, "")
    assert err == "hf-tokcomp: error: Pictures need matplotlib. Install it with: pip install 'hf-tokcomp[plot]'\n"


def test_letters_without_a_font_are_one_warning(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_of("ltbm", 24, text="\U0001f9ff\U000e0fff\u1b00 \u1b01")  # Balinese: in few fonts
    monkeypatch.setattr("hf_tokcomp.plotting.reading.read_panels", lambda *given, **_: [panel] * len(given[3]))
    monkeypatch.setattr("hf_tokcomp.plotting.layout.FONTS", ("DejaVu Sans",))
    code, out, err = call("long.wav", "--model", "./qwen2_audio", "-o", str(tmp_path / "picture.png"))
    assert code == 0
    assert out.startswith("Wrote")
    assert re.fullmatch(r"hf-tokcomp: warning: no installed font has some of the letters[^\n]+\n", err)


@needs_small_model
def test_the_shipped_model_is_read_as_by_run() -> None:
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL).eval()
    path, truth = recordings()[0]
    with torch.no_grad():
        figure = plotting.plot(
            model, AutoProcessor.from_pretrained(SMALL_MODEL), path, ["none"], prompt="Transcribe the digits."
        )
    assert {f"“{truth}”", "127 → 127 tokens (100 %)"} <= words_of(figure)
