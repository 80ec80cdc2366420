"""`hf-tokcomp serve` starts vLLM with the shipped model, which answers the page's curl; `make vllm-test` runs it."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

from engines import HERE
from http_servers import ServerProcess, free_port
from places import ROOT
from shipped import needs_small_model
from shipped_questions import shipped, shipped_answers, shipped_audio, written_prompt

import hf_tokcomp


def page_blocks():
    """The page's commands that only vLLM's tests can run: the server, and what asks it."""
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    return re.findall(r"<!-- not run: make vllm-test does -->\n```bash\n(.*?)```", page, re.DOTALL)


def config_of(words):
    """The compression that a command line names."""
    ratio = words[words.index("--retention-ratio") + 1]
    return {"method": words[words.index("--compression") + 1], "retention_ratio": eval(ratio)}


@needs_small_model
@pytest.mark.skipif(None in map(shutil.which, ("bash", "curl", "base64")), reason="the page's commands need them")
def test_the_pages_commands_serve_the_shipped_model(tmp_path):
    serve, ask = page_blocks()
    port = free_port()
    words = shlex.split(serve.replace("8000", str(port)))
    assert words[:2] == ["hf-tokcomp", "serve"]
    # As it stands, but for what makes it start sooner.
    command = [sys.executable, "-m", "hf_tokcomp", *words[1:], "--enforce-eager", "--host", "127.0.0.1"]
    home = {"HF_HOME": str(tmp_path / "home")}
    server = ServerProcess(command, port, tmp_path / "log", HERE | home | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    try:
        server.wait()
        script = ask.replace("localhost:8000", f"127.0.0.1:{port}")
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, check=True
        )
        server.process.terminate()
        assert server.process.wait(60) in (0, -15)
    finally:
        server.kill()
    answer = json.loads(done.stdout)
    config = config_of(words)
    (ids,) = shipped_answers(config, shipped_audio()[:1])
    processor = shipped()[1]
    assert answer["choices"][0]["message"]["content"].strip() == processor.decode(ids, skip_special_tokens=True).strip()
    with hf_tokcomp.compressed(processor, config):
        inputs = processor(text=written_prompt(), audio=shipped_audio()[0], sampling_rate=16000, return_tensors="pt")
    assert answer["usage"]["prompt_tokens"] == inputs["input_ids"].shape[1]
    assert answer["model"] == "digits_and_sounds"
    exported, started = server.said.splitlines()[:2]
    assert exported.startswith("hf-tokcomp export-vllm ")
    assert shlex.split(exported)[3] in started
    assert list((tmp_path / "home" / "hf_tokcomp" / "vllm").iterdir())
