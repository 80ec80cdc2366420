"""Long recordings in everything that reads many: each command reads all of them, or their beginning, as it is told."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
import torch
import transformers
from training_tools import PROMPT, arguments, plain_processor

import hf_tokcomp
from hf_tokcomp import CompressionConfigError
from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.evaluation.likelihood import option_inputs, option_likelihoods
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.lmms_eval_plugin.prompts import Questions
from hf_tokcomp.models.announced import WINDOWS
from hf_tokcomp.models.registry import patch_for_processor
from hf_tokcomp.patching.long_audio import processor_for
from hf_tokcomp.training import AudioTextCollator, make_trainer

Call = Callable[..., tuple[int, str, str]]
WINDOWED = {"method": "stride", "retention_ratio": 0.5, "long_audio": "windows"}
KIND = "qwen2_audio"

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def long(folder: Path) -> tuple[Path, float]:
    """The shipped recordings one after another, twice: more than two of the small model's windows of 10 s."""
    file = folder / "long.wav"
    samples = np.concatenate([load_audio(path) for path, _ in recordings()] * 2)
    soundfile.write(file, samples, tiny.RATE)
    return file, len(samples) / tiny.RATE


def tokens_of(seconds: float) -> int:
    """Tokens of a recording, all windows together."""
    return int(seconds * 100 + 1) // 4


def test_run(long: tuple[Path, float], call: Call) -> None:
    file, seconds = long
    quick = (str(file), "--max-new-tokens", "2", "--json", "--device", "cpu")
    code, out, err = call("run", *quick, "--compression", "ltbm:max_tokens=100:long_audio=windows")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)["results"]
    assert result["seconds_dropped"] == 0
    assert abs(result["tokens_before"] - tokens_of(seconds)) <= 1
    assert result["tokens_after"] == 100
    code, out, err = call("run", *quick, "--compression", "ltbm")
    (result,) = json.loads(out)["results"]
    assert result["seconds_dropped"] == pytest.approx(seconds - 10, abs=1e-3)
    assert result["tokens_before"] == 250
    assert "the first 10 s only. With long_audio='windows'" in err


def test_run_refuses_none(long: tuple[Path, float], call: Call) -> None:
    code, _, err = call("run", str(long[0]), "--compression", "none:long_audio=windows")
    assert code != 0
    assert "'retention_ratio': 1.0, 'long_audio': 'windows'" in err


def test_compare_reads_each_in_its_own_way(long: tuple[Path, float], call: Call) -> None:
    file, seconds = long
    options = (
        "--retention-ratio",
        "1,1/2",
        "--positions",
        "original",
        "--max-new-tokens",
        "2",
        "--json",
        "--device",
        "cpu",
    )
    both = ("--compression", "stride", "--compression", "stride:long_audio=windows")
    code, out, err = call("compare", str(file), str(recordings()[0][0]), *both, *options)
    assert code == 0, err
    counts = {(each["run"], each["item"]): each["tokens_before"] for each in json.loads(out)["answers"]}
    whole, short = tokens_of(seconds), counts["none@1", "1"]
    assert short < 250
    for run, long_one in (("none@1", 250), ("stride@0.5/original", 250)):
        assert (counts[run, "0"], counts[run, "1"]) == (long_one, short)
    for run in ("stride:long_audio=windows@1/original", "stride:long_audio=windows@0.5/original"):
        assert counts[run, "0"] == pytest.approx(whole, abs=1)
        assert counts[run, "1"] == short


def test_a_model_that_reads_long_audio_is_refused_before_any_time_is_spent(tmp_path: Path) -> None:
    from hf_tokcomp.evaluation import evaluation, plan

    runs, _ = plan.plan(["stride:long_audio=windows"], [0.5], [], 1)
    model, of = tiny.model("audioflamingo3"), tiny.processor("audioflamingo3")
    with pytest.raises(CompressionConfigError, match="'audioflamingo3' reads long audio itself"):
        evaluation.measure(model, of, [], runs, {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_by_likelihood_and_the_collator() -> None:
    of = plain_processor(KIND)
    rows = [{"audio": tiny.sound(2.5), "text": "yes"}, {"audio": tiny.sound(0.5), "text": "no"}]
    with pytest.raises(
        ValueError, match=r"reads 1 s.* With long_audio='windows' in the compression, it reads all of it"
    ):
        AudioTextCollator(of, PROMPT)(rows)
    batch = AudioTextCollator(processor_for(of, hf_tokcomp.CompressionConfig(**WINDOWED)), PROMPT)(rows)
    assert batch[WINDOWS].tolist() == [3, 1]
    assert hf_tokcomp.active_config(of) is None  # the copy was patched
    shortened = AudioTextCollator(hf_tokcomp.patch(of, WINDOWED), PROMPT)(rows)
    assert shortened["input_ids"].shape[1] < batch["input_ids"].shape[1]
    model, losses = hf_tokcomp.patch(tiny.model(KIND), WINDOWED), []
    with torch.no_grad():
        for each in (batch, shortened):
            losses.append(model(**each).loss.item())
            assert model.audio_compressor.last.tokens_before == [62, 12]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    collator, choices = AudioTextCollator(of, PROMPT), [["yes", "no"], ["yes", "a", "b"]]
    _, counts = option_likelihoods(model, option_inputs(collator, rows, choices), choices)
    assert [each[:3] for each in counts] == [(62, 31, 31), (12, 6, 6)]


def test_training_reads_all_of_it(tmp_path: Path) -> None:
    rows = [{"audio": tiny.sound(length), "text": "a b"} for length in (2.5, 0.5)]
    run = make_trainer(
        tiny.model(KIND),
        rows,
        arguments(tmp_path),
        processor=plain_processor(KIND),
        compression=WINDOWED,
        prompt=PROMPT,
    )
    seen: list[list[int]] = []
    run.model.get_base_model().audio_compressor.register_forward_hook(lambda _, args, __: seen.append(args[0].counts))
    run.train()
    assert {count for counts in seen for count in counts} == {62, 12}


def test_a_processor_that_cuts_does_not_fit() -> None:
    of = hf_tokcomp.patch(plain_processor(KIND), "stride")
    with pytest.raises(CompressionConfigError, match="the processor is patched with long_audio='cut'"):
        processor_for(of, hf_tokcomp.CompressionConfig(**WINDOWED))


@pytest.mark.parametrize("stored", [True, False])
def test_finetune_takes_long_rows(long: tuple[Path, float], tmp_path: Path, stored: bool) -> None:
    from hf_tokcomp.cli import main

    model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL)
    if stored:
        hf_tokcomp.patch(model, WINDOWED)
    model.save_pretrained(tmp_path / "model")
    transformers.AutoProcessor.from_pretrained(SMALL_MODEL).save_pretrained(tmp_path / "model")
    table = tmp_path / "rows.jsonl"
    table.write_text(json.dumps({"audio": str(long[0]), "text": "one two", "prompt": "Transcribe the digits."}) + "\n")
    flags = ["--model", tmp_path / "model", "--dataset", table, "--max-steps", 1, "--output-dir", tmp_path / "out"]
    more = [] if stored else ["--compression", "stride:long_audio=windows"]
    evaluated = ["--eval-dataset", table, "--evaluate-uncompressed", "--max-new-tokens", 2, "--use-cpu"]
    assert main(["finetune", *map(str, [*flags, *more, *evaluated])]) == 0
    assert json.loads((tmp_path / "out" / "compression_config.json").read_text())["long_audio"] == "windows"


def test_lmms_eval_documents() -> None:
    of = plain_processor(KIND)
    patch = patch_for_processor(of)[1]
    samples = tiny.sound(2.5)
    given = {"add_system_prompt": True, "simple_prompt": True}
    cut = Questions(of, patch, **given).ask("what is", [{"array": samples, "sampling_rate": tiny.RATE}])
    assert len(cut.samples) == 3  # three audios of a prompt
    whole = processor_for(of, hf_tokcomp.CompressionConfig(**WINDOWED))
    question = Questions(whole, patch, **given).ask("what is", [{"array": samples, "sampling_rate": tiny.RATE}])
    assert [len(each) for each in question.samples] == [len(samples)]


def test_plot(long: tuple[Path, float], tmp_path: Path, call: Call) -> None:
    pytest.importorskip("matplotlib")
    options = ("--compression", "stride", "--compression", "stride:long_audio=windows", "--max-new-tokens", "2")
    code, out, err = call("plot", str(long[0]), "-o", str(tmp_path / "a.png"), *options, "--device", "cpu")
    assert (code, err) == (0, "")
    assert f"on {long[1]:.1f} s of audio" in out


def test_pictures_show_all_that_any_of_them_reads() -> None:
    pytest.importorskip("matplotlib")
    from hf_tokcomp.plotting.reading import read_each

    def inputs_for(config: hf_tokcomp.CompressionConfig | None) -> Any:
        return tiny.process(processor_for(of, config), KIND, [tiny.prompt(KIND)], [tiny.sound(2.5)])

    of, configs = (
        tiny.processor(KIND),
        [hf_tokcomp.CompressionConfig(**WINDOWED | cut) for cut in ({"long_audio": "cut"}, {})],
    )
    panels, inputs = read_each(tiny.model(KIND), of, inputs_for, configs, text=False)
    assert [panel.tokens_before for panel in panels] == [25, 62]
    assert len(inputs["input_features"]) == 3


@pytest.mark.skipif(os.environ.get("HF_TOKCOMP_DATA") is None, reason="HF_TOKCOMP_DATA names no folder of recordings")
def test_a_minute_of_real_digits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Joined recordings of more than 60 s, by the processor, `generate`, and the words of every window alone."""
    files = sorted((Path(os.environ["HF_TOKCOMP_DATA"]) / "digits").glob("*.wav"))
    samples = np.concatenate([load_audio(path, tiny.RATE) for path in files[:: len(files) // 200]])
    samples = samples[: 64 * tiny.RATE]
    assert len(samples) == 64 * tiny.RATE
    reader = Reader(str(SMALL_MODEL))
    reader.load_model("cpu")
    config = hf_tokcomp.CompressionConfig(
        method="segmentwise_top_k", max_tokens=750, positions="original", long_audio="windows"
    )
    of = hf_tokcomp.patch(transformers.AutoProcessor.from_pretrained(SMALL_MODEL), config)
    prompt = reader.prompt("Transcribe the digits.")
    with caplog.at_level(logging.WARNING):
        inputs = of(text=[prompt] * 2, audio=[samples, samples[: 5 * tiny.RATE]], return_tensors="pt", padding=True)
        model = hf_tokcomp.patch(reader.model, config)
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert not [message for message in caplog.messages if "cut" in message]
    assert inputs[WINDOWS].tolist() == [7, 1]
    last = model.audio_compressor.last
    assert last.tokens_before == [1600, 125]
    assert last.tokens_after[0] <= 750
    assert last.times[0, last.tokens_after[0] - 1, 1] > 60
    alone = of(text=[prompt], audio=[samples], return_tensors="pt", padding=True)
    said = model.generate(**alone, max_new_tokens=8, do_sample=False)
    new = slice(inputs["input_ids"].shape[1], None)
    assert torch.equal(output[0, new], said[0, alone["input_ids"].shape[1] :])
