"""The lmms-eval plug-in as a user runs it, where lmms-eval is installed: `pip install "hf-tokcomp[lmms-eval]"`."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
from datasets import Audio, Dataset
from places import ROOT

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.lmms_eval_plugin import MODELS, TASKS, captioning

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (docs/lmms-eval.md)")

PAGE = (ROOT / "docs" / "lmms-eval.md").read_text(encoding="utf-8")
DIGITS = PAGE.split("```yaml\n")[1].split("```")[0]
"""The task on the page."""


class Run(NamedTuple):
    """How a run of lmms-eval ended, what it printed, and what it left in its folder."""

    status: int
    printed: str
    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]

    def table(self) -> dict[tuple[str, str], str]:
        """lmms-eval's own table: the printed value of each task and metric."""
        head = r"\|\s*Tasks\s*\|Filter\|n-shot\|\s*Metric\s*\|\s*\|\s*Value\s*\|"
        assert re.search(head, self.printed), self.printed
        rows = re.findall(r"^\|(\S+)\s*\|none\s*\|\s*0\|(\w+)\s*\|\S\s*\|\s*([\d.]+)\|", self.printed, re.MULTILINE)
        return {(task, metric): value for task, metric, value in rows}


def run(folder: Path, tasks: str, include: Path, *more: str, model: str = "", **arguments: object) -> Run:
    """Run lmms-eval from a folder, offline, on the CPU."""
    given = {"pretrained": SMALL_MODEL, "device": "cpu"} | arguments
    command = [sys.executable, "-m", "lmms_eval", "--model", model or "hf_tokcomp_qwen2_audio"]
    command += ["--model_args", ",".join(f"{name}={value}" for name, value in given.items())]
    command += ["--tasks", tasks, "--include_path", str(include), "--output_path", "out", "--log_samples", *more]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(folder / "home"),
        "HF_TOKCOMP_CLOTHO": str(folder / "clotho"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    results: dict[str, Any] = {}
    samples = {}
    for file in (folder / "out").rglob("*"):
        if file.name.endswith("_results.json"):
            results = json.loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
            samples[file.stem.partition("_samples_")[2]] = rows
    return Run(done.returncode, done.stdout + done.stderr, results, samples)


def write(file: Path, audio: str, numbers: list[int], **columns: list[Any]) -> None:
    """A parquet file of shipped recordings as benchmarks have them, the encoded files inside."""
    file.parent.mkdir(parents=True, exist_ok=True)
    paths = [recordings()[number][0] for number in numbers]
    encoded = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    dataset = Dataset.from_dict({audio: encoded, **columns}).cast_column(audio, Audio(sampling_rate=16_000))
    dataset.to_parquet(file)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    write(tmp_path / "tasks" / "digits.parquet", "audio", [0, 1, 2], answer=[text for _, text in recordings()])
    (tmp_path / "tasks" / "digits.yaml").write_text(DIGITS, encoding="utf-8")
    return tmp_path


def test_all_tokens_are_all_right(digits: Path) -> None:
    done = run(digits, "local_digits", digits / "tasks", "--batch_size", "2", compression="none")
    assert done.status == 0, done.printed
    assert done.table() == {("local_digits", "exact_match"): "1"}
    assert [row["filtered_resps"] for row in done.samples["local_digits"]] == [text for _, text in recordings()]
    tokens = done.results["throughput"]
    assert tokens["avg_audio_tokens_after"] == tokens["avg_audio_tokens_before"] == 109


def test_half_of_the_tokens_are_read(digits: Path) -> None:
    done = run(digits, "local_digits", digits / "tasks", compression="average_pooling", retention_ratio=0.5)
    assert done.status == 0, done.printed
    answers = [row["filtered_resps"] for row in done.samples["local_digits"]]
    right = sum(answer == text for answer, (_, text) in zip(answers, recordings(), strict=True))
    assert right < 3, "contiguous positions cost this model a lot"
    assert float(done.table()["local_digits", "exact_match"]) == pytest.approx(right / 3, abs=1e-4)
    tokens = done.results["throughput"]
    assert (tokens["avg_audio_tokens_before"], tokens["avg_audio_tokens_after"]) == (109, 55)
    read = [row["token_counts"][0]["input_tokens"] for row in done.samples["local_digits"]]
    assert sum(read) == 3 * (123 - 109 + 55), "a prompt has 14 tokens beside the audio's"


def test_an_error_in_generate_fails_the_run(digits: Path) -> None:
    done = run(digits, "local_digits", digits / "tasks", "--gen_kwargs", "max_new_tokens=0")
    assert done.status == 1
    assert "|Tasks" not in done.printed
    assert not done.results
    assert re.search(r"hf_tokcomp: error: task local_digits, split test, document \d: ValueError: ", done.printed)


def test_unknown_model_arguments_are_refused(digits: Path) -> None:
    done = run(digits, "local_digits", digits / "tasks", ratio=0.5)
    assert done.status == 1
    assert "Unknown model argument 'ratio': did you mean 'retention_ratio'? Known: add_system_prompt," in done.printed
    assert "|Tasks" not in done.printed


def test_the_captioning_tasks(tmp_path: Path) -> None:
    texts = [text for _, text in recordings()]
    rows = [0, 1, 2, 0]  # a clip twice, with two captions
    write(tmp_path / "AudioLLMs/audiocaps_test/test.parquet", "context", rows, answer=[*texts, "a woman counts"])
    write(tmp_path / "TwinkStart/AudioCaps/test.parquet", "audio", [0, 1, 2], caption=texts)
    write_clotho(tmp_path / "clotho")
    names = ["hf_tokcomp_audiocaps", "hf_tokcomp_audiocaps_twinkstart", "hf_tokcomp_clotho"]
    done = run(tmp_path, ",".join(names), TASKS, "--gen_kwargs", "max_new_tokens=12", compression="none")
    assert done.status == 0, done.printed
    assert set(done.table()) == {(name, metric) for name in names for metric in ("cider", "rouge_l")}
    for name in names:
        rows_of_task = done.samples[name]
        assert len(rows_of_task) == 3
        assert {row["input"] for row in rows_of_task} == {"Generate the caption in English:"}
        for metric in (captioning.cider, captioning.rouge_l):
            expected = metric([row[metric.__name__] for row in rows_of_task])
            assert float(done.table()[name, metric.__name__]) == pytest.approx(expected, abs=1e-4)
    assert done.samples[names[0]][0]["cider"]["references"] == [texts[0], "a woman counts"]
    assert done.samples[names[2]][1]["cider"]["references"] == [texts[1], "someone, counts"]


def write_clotho(folder: Path) -> None:
    """The files as they come, with two captions per clip."""
    (folder / "evaluation").mkdir(parents=True)
    lines = ["file_name,caption_1,caption_2"]
    for path, text in recordings():
        (folder / "evaluation" / path.name).write_bytes(path.read_bytes())
        lines.append(f'{path.name},{text},"someone, counts"')
    (folder / "clotho_captions_evaluation.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_lmms_eval_knows_the_models() -> None:
    from lmms_eval.models import get_model, list_available_models

    assert set(MODELS) <= set(list_available_models()), "install the package: entry points come with its metadata"
    assert {name: get_model(name).__name__ for name in MODELS} == MODELS


def test_the_pages_commands_are_lmms_evals_own() -> None:
    from lmms_eval.tasks import TaskManager
    from lmms_eval.utils import simple_parse_args_string

    from hf_tokcomp.lmms_eval_plugin.model import CompressedAudioModel

    known = TaskManager(include_path=str(TASKS)).all_tasks
    blocks = [block.split("```")[0].replace("\\\n", " ") for block in PAGE.split("```bash\n")[1:]]
    commands = [shlex.split(line) for block in blocks for line in block.splitlines() if "-m lmms_eval" in line]
    assert len(commands) == 3
    for words in commands:
        value = {word: after for word, after in itertools.pairwise(words) if word.startswith("--")}
        assert value["--model"] in MODELS
        assert value["--tasks"] in known
        given = simple_parse_args_string(value["--model_args"])
        assert set(given) <= set(inspect.signature(CompressedAudioModel).parameters)
    in_json = simple_parse_args_string('compression={"method": "ltbm", "window": 4},device=cpu')
    assert in_json == {"compression": '{"method": "ltbm", "window": 4}', "device": "cpu"}
    listed = set(re.findall(r"^\| `(\w+)` \| .* \| ", PAGE, re.MULTILINE))
    assert listed == set(inspect.signature(CompressedAudioModel).parameters) - {"batch_size", "unknown"}


def flamingo(folder: Path, **arguments: Any) -> Any:
    from hf_tokcomp.lmms_eval_plugin.model import CompressedAudioFlamingo3

    tiny.model("audioflamingo3").save_pretrained(folder)
    tiny.processor("audioflamingo3").save_pretrained(folder)
    model = CompressedAudioFlamingo3(str(folder), device="cpu", **arguments)
    docs = [{"array": tiny.sound(seconds, seed), "sampling_rate": 16_000} for seed, seconds in enumerate((0.7, 2.6))]
    model.task_dict = {"task": {"test": [[docs[0]], [docs[1]], docs]}}
    return model


def requests(*numbers: int, **options: Any) -> list[Any]:
    from lmms_eval.api.instance import Instance

    def visual(doc: Any) -> Any:
        return doc

    return [
        Instance(
            request_type="generate_until",
            arguments=(
                "what is this" if number == 1 else "what",
                {"max_new_tokens": 4, **options},
                visual,
                number,
                "task",
                "test",
            ),
            idx=0,
            metadata={"task": "task", "doc_id": number, "repeats": 1},
        )
        for number in numbers
    ]


def test_audio_flamingo_3_answers_in_batches_as_one_by_one(tmp_path: Path) -> None:
    model = flamingo(tmp_path, compression="stride", retention_ratio=0.5, batch_size=2)
    together = model.generate_until(requests(0, 1, 0))
    alone = [answer for number in (0, 1, 0) for answer in model.generate_until(requests(number))]
    assert together == alone
    assert together[0] == together[2] != together[1]
    kept = [answer.token_counts.input_tokens for answer in together]
    assert kept == [1 + 9, 3 + 33, 1 + 9], "the words, and half of the audio's 18 and 65 tokens, rounded up"


def test_errors_name_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = flamingo(tmp_path, batch_size=2)
    with pytest.raises(RuntimeError, match="task task, split test, document 2: ValueError: The document has 2 rec"):
        model.generate_until(requests(0, 2))

    def out_of_memory(**_: Any) -> None:
        raise MemoryError("too long")

    monkeypatch.setattr(model.model, "generate", out_of_memory)
    with pytest.raises(RuntimeError, match=r"document 1, .*document 0: MemoryError: too long"):
        model.generate_until(requests(0, 1))


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    from hf_tokcomp.lmms_eval_plugin.model import CompressedAudioModel, CompressedQwen2Audio

    with pytest.raises(ValueError, match="is a 'audioflamingo3' model; use --model hf_tokcomp"):
        flamingo(tmp_path) and CompressedQwen2Audio(str(tmp_path))
    with pytest.raises(ValueError, match=r"'conv_resampler' learns, and .* has no weights of it"):
        CompressedAudioModel(str(tmp_path), compression="conv_resampler", retention_ratio=0.5, device="cpu")
    with pytest.raises(ValueError, match="Which model"):
        CompressedAudioModel()
    model = CompressedAudioModel(str(tmp_path), device="cpu")
    for method in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError, match="generate_until"):
            method([])
