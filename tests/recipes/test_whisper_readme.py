"""The README's lines about Whisper as they stand, on the real one, where `HF_TOKCOMP_WHISPER` names its folder."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from hf_tokcomp.checkpoints import speech
from hf_tokcomp.cli import main

NAME = "openai/whisper-tiny.en"
HALF = '{"method": "ltbm", "retention_ratio": 0.5}'
WHISPER = os.environ.get("HF_TOKCOMP_WHISPER")
needs_weights = pytest.mark.skipif(
    WHISPER is None or not Path(WHISPER).is_dir(), reason="HF_TOKCOMP_WHISPER names no folder with Whisper's tiny.en"
)


def shown() -> dict[str, str]:
    """The program and the command line, by language."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Whisper\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^```(python|bash)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


def said() -> tuple[float, float]:
    """The word errors in % that the README promises: with all tokens, and with half of them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"([\d.]+) % word errors with all\s+tokens and with half", text)
    return float(found), float(found)


def run(compression: str) -> tuple[float, list[list[int]], list[str]]:
    """The word errors in %, the counts before and after, and the texts that the program prints."""
    program = shown()["python"]
    assert program.count(f'"{NAME}"') == program.count(HALF) == 1
    printed: list[tuple[Any, ...]] = []
    code = program.replace(f'"{NAME}"', repr(WHISPER)).replace(HALF, compression)
    exec(compile(code, "README", "exec"), {"print": lambda *values, **_: printed.append(values)})
    (*texts, before, after), (errors,) = printed
    return errors["wer"], [before, after], texts


@needs_weights
def test_the_program_reads_as_well_from_half_of_the_tokens() -> None:
    half, (before, after), texts = run(HALF)
    everything, counts, others = run('"none"')
    assert half <= everything + 1
    assert (everything, half) == pytest.approx(said(), abs=0.05)
    assert len(texts) == len(others) == len(speech())
    assert counts == [before, before] == [[1500] * 10] * 2
    assert max(after) < 750
    for count, (_, row) in zip(after, zip(speech(), seconds(), strict=True), strict=True):
        assert count == pytest.approx(row * 50 / 2 + 50, abs=2), "half of the sound's, and a second of padding"


def seconds() -> list[float]:
    listed = json.loads((speech()[0][0].parent / "speech.json").read_text(encoding="utf-8"))
    return [row["seconds"] for row in listed]


@needs_weights
@pytest.mark.usefixtures("libraries_as_they_were")
def test_the_command_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(shown()["bash"])
    assert program == "hf-tokcomp"
    assert words.count(NAME) == 1
    assert main([str(WHISPER) if word == NAME else word for word in words]) == 0
    results = json.loads(Path("speech", "results.json").read_text(encoding="utf-8"))
    values = {score["method"]: score["value"] for score in results["scores"]}
    assert values["ltbm"] <= values["none"] + 1
    assert (values["none"], values["ltbm"]) == pytest.approx(said(), abs=0.05)
