"""Every example on the pages runs, every command parses, and every table says what the code says."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import tiny
import tiny_whisper
import transformers
import write_methods
from hub_client import Hub
from places import ROOT
from subjects.checkpoints import folder_of
from typer.main import get_command

import hf_tokcomp
from hf_tokcomp import cli
from hf_tokcomp.benchmarks.decoding import tables as decoding_tables
from hf_tokcomp.benchmarks.serving import memory
from hf_tokcomp.benchmarks.serving import tables as serving_tables
from hf_tokcomp.benchmarks.speed import tables as speed_tables
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli.finetune import parse
from hf_tokcomp.cli.tables import list_methods, markdown_table
from hf_tokcomp.config import registry
from hf_tokcomp.inference.speech import Voice
from hf_tokcomp.models import registry as models
from hf_tokcomp.models import versions
from hf_tokcomp.reporting import pages
from recipes import finetuning
from recipes.costs import tables as benchmark_tables

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
SOURCES = ("hf_tokcomp", "patches", "recipes")

# What a reader has and the tests have not: the examples name it as a reader would, and get these instead.
QWEN2_AUDIO = "Qwen/Qwen2-Audio-7B-Instruct"  # becomes the shipped model
AUDIO_FLAMINGO_3 = "nvidia/audio-flamingo-3-hf"  # becomes a tiny model with random weights
WHISPER = "openai/whisper-large-v3"  # so does this one
TINY = {  # so do these, of which tests/helpers/subjects has checkpoints
    "nvidia/music-flamingo-2601-hf": "musicflamingo",
    "mistralai/Voxtral-Mini-3B-2507": "voxtral",
    "zai-org/GLM-ASR-Nano-2512": "glmasr",
    "ibm-granite/granite-speech-3.3-2b": "granite_speech",
    "Qwen/Qwen2.5-Omni-3B": "qwen2_5_omni",
    "Qwen/Qwen3-Omni-30B-A3B-Instruct": "qwen3_omni_moe",
    "Qwen/Qwen3-ASR-1.7B-hf": "qwen3_asr",
    "openai/whisper-tiny.en": "whisper",
}
ON_HUB = "someone/qwen2-audio-quarter"  # a config on the tests' small Hub
AUDIO_FILES = ["question.wav"]  # become the shipped recordings
LONG_FILE = "meeting.wav"  # becomes all of them twice, longer than the shipped model's window
FOLDER = "my_recordings"  # the shipped recordings, with a table of each split
ADAPTER = "my_adapter"  # one that was trained for a step
FLAMINGO_TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ part['text'] + ' ' if part['type'] == 'text' else '<sound> ' }}"
    "{% endfor %}{% endfor %}"
)
DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
NOTHING = "\N{EN DASH}"

NOT_RUN: list[str] = ["takes long", "takes long", "needs the two corpora"]
"""The reasons of all blocks marked `<!-- not run: reason -->`."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


BY_VLLM = "make vllm-test does"
"""The reason of blocks that `tests/serving` runs, where vLLM is installed."""
NEEDS_VLLM = "needs vLLM"
"""The reason of commands that are parsed here; `tests/serving/test_vllm_bench.py` runs their like."""


def blocks(page: Path, language: str) -> list[Block]:
    """The page's blocks in this language, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start, fence = 0, ""
    for number, line in enumerate(lines):
        if not fence and line.startswith("```"):
            start, fence = number, line.removeprefix("```").strip() or "text"
        elif fence and line == "```":
            marked = re.fullmatch(r"<!-- not run: (.+) -->", lines[start - 1])
            text = "\n".join(lines[start + 1 : number])
            found.append(Block(page, start + 2, fence, text, marked and marked[1]))
            fence = ""
    assert not fence, f"{page.name}: the block that begins in line {start + 1} has no end"
    return [block for block in found if block.language == language]


@pytest.fixture(scope="session")
def flamingo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flamingo")
    tiny.model("audioflamingo3").save_pretrained(folder)
    processor = tiny.processor("audioflamingo3")
    processor.chat_template = FLAMINGO_TEMPLATE
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the reader's files in it; what the examples register is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(models, "PATCHES", dict(models.PATCHES))
    for name, (recording, _) in zip(AUDIO_FILES, recordings(), strict=False):
        samples, rate = soundfile.read(recording)
        soundfile.write(tmp_path / name, samples, rate)
    every = [soundfile.read(recording) for recording, _ in recordings()] * 2
    soundfile.write(tmp_path / LONG_FILE, np.concatenate([samples for samples, _ in every]), every[0][1])
    rows = [json.dumps({"audio": str(path), "text": truth}) for path, truth in recordings()]
    (tmp_path / FOLDER).mkdir()
    for split in ("train", "test"):
        (tmp_path / FOLDER / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def _same_verbosity() -> Iterator[None]:
    """The command line silences transformers for its process, which here is that of the other tests too."""
    before = transformers.logging.get_verbosity()
    yield
    transformers.logging.set_verbosity(before)
    transformers.logging.enable_progress_bar()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples_run(page: Path, reader: Path, flamingo: Path, hub: Hub) -> None:
    if f'"{ADAPTER}"' in "".join(block.text for block in blocks(page, "python")):
        given = ["--dataset", FOLDER, "--compression", "stride", "--max-steps", "1", "--output-dir", ADAPTER]
        assert cli.main(["finetune", *given]) == 0
    with hub.here():  # what an example pushes, a later one loads
        run_examples(page, flamingo)


def run_examples(page: Path, flamingo: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if block.not_run:
            continue
        text = block.text.replace(QWEN2_AUDIO, SMALL_MODEL.as_posix()).replace(AUDIO_FLAMINGO_3, flamingo.as_posix())
        for name, subject in TINY.items():
            if name in text:
                text = text.replace(name, folder_of(subject).as_posix())
        # Blank lines in front, so that a traceback names the page's own line.
        exec(compile("\n" * (block.line - 1) + text, str(page), "exec"), namespace)


def test_the_first_example_reads_the_recording(
    reader: Path, flamingo: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    test_examples_run(ROOT / "README.md", reader, flamingo, hub)
    printed = capsys.readouterr().out.splitlines()
    answer, counts = printed[0].split(), printed[1]
    assert set(answer) <= DIGITS
    assert answer
    said = re.search(r"# for a recording of 5 s: (.+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert said
    assert counts == said[1]


def test_few_examples_are_not_run() -> None:
    marked = [block.not_run for page in PAGES for language in ("python", "bash") for block in blocks(page, language)]
    assert [reason for reason in marked if reason and reason not in (BY_VLLM, NEEDS_VLLM)] == NOT_RUN
    assert len(NOT_RUN) <= 3


def commands() -> list[tuple[Block, list[str]]]:
    """Every command line of the pages' bash blocks, with line continuations joined and comments dropped."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append((block, words))
    return found


@pytest.fixture
def whisper(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Listens to a model that speaks briefly: with random weights, it would never end by itself."""
    few = Voice(max_new_tokens=4).keywords()
    monkeypatch.setattr(Voice, "keywords", lambda _self: few)
    return tiny_whisper.save(tmp_path_factory.mktemp("listens"))


@pytest.mark.usefixtures("_same_verbosity")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_run(
    page: Path, reader: Path, flamingo: Path, whisper: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {QWEN2_AUDIO: str(SMALL_MODEL), AUDIO_FLAMINGO_3: str(flamingo), WHISPER: str(whisper)}
    named = {word for block, words in commands() if block.page == page for word in words}
    folders |= {name: str(folder_of(subject)) for name, subject in TINY.items() if name in named}
    hub.put(ON_HUB, {"compression_config.json": '{"method": "ltbm", "schema_version": 1}'})
    for block, words in commands():
        if block.page == page and words[0] == "hf-tokcomp" and not block.not_run:
            with hub.here():
                assert cli.main([folders.get(word, word) for word in words[1:]]) == 0, (str(block), words)
            assert capsys.readouterr().out


def test_commands_are_of_known_kinds() -> None:
    known = {"make", "pip", "git", "cd", "hf-tokcomp", "python", ".venv/bin/python", "accelerate", "torchrun", "vllm"}
    known |= {"curl", "printf"}
    unknown = {words[0] for _, words in commands() if "=" not in words[0]} - known
    assert unknown == set()


def test_launched_commands_parse() -> None:
    launched = [words for _, words in commands() if words[0] == "accelerate"]
    assert launched
    for words in launched:
        assert words[words.index("-m") + 1 :][:2] == ["hf_tokcomp", "finetune"]
        parse(words[words.index("finetune") + 1 :])


def test_commands_for_vllm_parse() -> None:
    group: Any = get_command(cli.app)
    lines = [words for block, words in commands() if block.not_run == NEEDS_VLLM]
    served = [words[words.index("hf-tokcomp") + 1 :] for words in lines if "hf-tokcomp" in words]
    assert served
    for name, *arguments in served:
        group.commands[name].make_context(name, arguments)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = [word for _, words in commands() if words[0] == "make" for word in words[1:] if "=" not in word]
    assert {"demo", "test"} <= set(named) <= targets


def test_named_test_files_exist() -> None:
    named = {word.partition("::")[0] for _, words in commands() for word in words if word.startswith("tests/")}
    named |= set(re.findall(r"`((?:tests|hf_tokcomp|patches|recipes|docs)/[\w/]+\.\w+)`", "".join(map(read, PAGES))))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    for file, _, function in (word.partition("::") for _, words in commands() for word in words if "::" in word):
        assert f"def {function}(" in read(ROOT / file)


def test_named_modules_exist() -> None:
    """Whatever is started by ``-m``, on a page, in a docstring or at a place that a command writes."""
    files = [*PAGES, SMALL_MODEL / "README.md", *(f for part in SOURCES for f in (ROOT / part).rglob("*.py"))]
    named = {name for file in files for name in re.findall(r"-m ((?:hf_tokcomp|recipes)[\w.]*)", read(file))}
    assert {"hf_tokcomp.benchmarks.full_size", "recipes.costs", "recipes.small_model.train"} <= named
    for name in named:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", read(page)):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = f"\n{read(page)}".split(f"\n{heading}\n", 1)[1]
    lines = [line for line in section.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture
def method_rows() -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table(ROOT / "README.md", "## Methods")}


def test_methods_table(method_rows: dict[str, list[str]]) -> None:
    files = {f"[`{name}`]({file_of(method)})": name for name, method in hf_tokcomp.methods().items()}
    assert set(method_rows) == set(files)
    for link, (family, idea, needs, source) in method_rows.items():
        method = hf_tokcomp.methods()[files[link]]
        assert family == method.family.replace("-", NOTHING)
        assert idea == method.idea
        assert needs == (", ".join(sorted(method.needs)) or NOTHING)
        written = (method.compressor_class.__doc__ or "") + (ast.get_docstring(ast.parse(module_text(method))) or "")
        numbers = re.findall(r"\d{4}\.\d{5}", source)
        assert sorted(set(numbers)) == sorted(set(re.findall(r"arXiv (\d{4}\.\d{5})", written)))


def file_of(method: registry.Method) -> str:
    module = importlib.import_module(method.compressor_class.__module__)
    return Path(str(module.__file__)).relative_to(ROOT).as_posix()


def module_text(method: registry.Method) -> str:
    return read(ROOT / file_of(method))


def test_every_method_is_defined_in_the_docs() -> None:
    headings = re.findall(r"^## (.*`.*)$", read(ROOT / "docs" / "methods.md"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(headings))) == sorted(hf_tokcomp.methods())


def test_the_table_of_all_methods_is_the_printed_one() -> None:
    page = read(ROOT / "docs" / "methods.md")
    inside = page.split("<!-- methods -->\n")[1].split("<!-- /methods -->")[0].strip().splitlines()
    assert inside == markdown_table(list_methods()), "run `make methods`"


def test_the_tables_of_costs_are_made_of_the_evidence() -> None:
    page = read(ROOT / "docs" / "costs.md")
    inside = page.split(benchmark_tables.BEGIN)[1].split(pages.END)[0].strip()
    assert inside == benchmark_tables.markdown(json.loads(read(ROOT / "docs" / "evidence" / "costs.json")))
    named = set(re.findall(r"^\| `(\w+)` \|", inside, re.MULTILINE))
    unmeasured = re.search(rf"^{write_methods.UNMEASURED}(.*)\.$", page, re.MULTILINE)
    newer = set(re.findall(r"`(\w+)`", unmeasured[1])) if unmeasured else set()
    assert not named & newer
    assert set(hf_tokcomp.methods()) - {"compose"} == named | newer, "compose costs what its stages do"


def test_the_tables_of_speed_are_made_of_the_evidence() -> None:
    page = read(ROOT / "docs" / "benchmarks.md")
    places = re.findall(re.escape(speed_tables.BEGIN).replace(r"\{place\}", r"#(\w+)"), page)
    reports = ROOT / "docs" / "evidence" / "speed"
    assert sorted(places) == sorted(path.stem for path in reports.glob("*.json"))
    for place in places:
        report = json.loads(read(reports / f"{place}.json"))
        inside = page.split(speed_tables.BEGIN.format(place=f"#{place}"))[1].split(pages.END)[0].strip()
        assert inside == speed_tables.markdown(report)
        phases = {"features", "encoder", "compressor", "projector", "prefill"}
        assert all(phases <= set(row) for row in report["rows"]), "every phase"


def test_the_tables_of_decoding_are_made_of_the_evidence() -> None:
    page, reports = ROOT / "docs" / "decoding.md", ROOT / "docs" / "evidence" / "decoding"
    places = re.findall(re.escape(decoding_tables.BEGIN).replace(r"\{place\}", r"#([\w-]+)"), read(page))
    assert sorted(places) == sorted(path.stem for path in reports.glob("*.json"))
    for place in places:
        report = json.loads(read(reports / f"{place}.json"))
        assert inside(page, decoding_tables.BEGIN.format(place=f"#{place}")) == decoding_tables.markdown(report)
        rows = report["rows"]
        workloads = {(row["seconds"], row["batch_size"]) for row in rows}
        for baseline in ("none", "none, again"):
            assert {(row["seconds"], row["batch_size"]) for row in rows if row["candidate"] == baseline} == workloads


def test_the_tables_of_serving_are_made_of_the_evidence() -> None:
    report = json.loads(read(ROOT / "docs" / "evidence" / "serving.json"))
    assert inside(ROOT / "docs" / "serving.md", serving_tables.BEGIN.format(place="")) == serving_tables.markdown(
        report
    )
    assert [row["candidate"] for row in report["rows"]][:: len(report["rows"]) - 1] == ["none", "none, again"]


def test_the_table_of_what_fits_is_computed() -> None:
    assert inside(ROOT / "docs" / "serving.md", memory.BEGIN) == memory.page()


def inside(page: Path, begin: str) -> str:
    """What a command wrote between the markers of a page."""
    return read(page).split(begin)[1].split(pages.END)[0].strip()


def test_the_readme_repeats_what_was_measured() -> None:
    rows = json.loads(read(ROOT / "docs" / "evidence" / "speed" / "qwen.json"))["rows"]
    took = {
        (row["seconds"], row["retention_ratio"]): f"{row['total']['median']:.1f} s"
        for row in rows
        if row["candidate"] in ("uncompressed", "segmentwise_top_k")
    }
    said = read(ROOT / "README.md").partition("**Speed.**")[2].partition("**Quality.**")[0]
    written = [re.findall(r"[\d.]+ s", line) for line in said.splitlines() if line.startswith("| ")]
    assert written[1:] == [[f"{seconds:g} s", took[seconds, None], took[seconds, 0.25]] for seconds in (30.0, 5.0)]


def test_the_table_of_finetuning_is_made_of_the_evidence() -> None:
    page = read(ROOT / "docs" / "training.md")
    inside = page.split("<!-- finetuning -->\n")[1].split("\n<!-- /finetuning -->")[0]
    assert inside == finetuning.table(ROOT / "docs" / "evidence" / "finetuning", finetuning.RATIOS)


def test_every_method_says_when_to_use_it() -> None:
    sections = re.split(r"^## ", read(ROOT / "docs" / "methods.md"), flags=re.MULTILINE)
    ours = [section for section in sections if section.startswith("`")]
    assert len(ours) == len(hf_tokcomp.methods())
    assert [section.split("\n")[0] for section in ours if "\nUse it " not in section] == []


def test_models_table() -> None:
    rows = {row[0].strip("`"): row[1:] for row in table(ROOT / "README.md", "## Models")}
    assert set(rows) == set(hf_tokcomp.supported_models())
    for model_type, patch in hf_tokcomp.supported_models().items():
        classes, _, audios, auto_classes = rows[model_type]
        assert re.findall(r"`(\w+)`", classes) == list(patch.model_classes)
        assert re.findall(r"`(\w+)`", auto_classes) == models.auto_classes(patch)
        assert audios == ("several" if patch.several_audios else "one")


def test_versions_that_models_need() -> None:
    listed = [(row[0], row[-1]) for row in table(ROOT / "docs" / "models.md", "# Models")]
    listed += [(row[0], row[1]) for row in table(ROOT / "README.md", "## Models")]
    for names, said in listed:
        since = {hf_tokcomp.supported_models()[name].since for name in re.findall(r"`(\w+)`", names)}
        found = set(re.findall(r"transformers (?:before )?(\d+\.\d+)", said)) or {None}
        assert found == {each and each.rpartition(".")[0] for each in since}, names
    (whisper,) = re.findall(
        r"^- All supported versions of transformers will do, (.+)\.$", read(ROOT / "docs" / "models.md"), re.M
    )
    assert whisper == f"{versions.OLDEST_TRIED} to {versions.NEWEST_TRIED}"


def test_no_placeholder_is_left() -> None:
    assert [page.name for page in PAGES if "@@" in read(page)] == []
