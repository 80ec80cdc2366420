"""One HTTP server, started as docs/serving.md says, with its JSON overrides; `make vllm-test` runs it."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import numpy as np
import soundfile
import tiny
from engines import HERE, TOKENS, Question, answers, made, saved

import hf_tokcomp

KIND = "qwen2_audio"
CONFIG = {"method": "ltbm", "retention_ratio": 0.25}
OVERRIDES = {"architectures": ["HfTokcompQwen2AudioForConditionalGeneration"], "audio_compression": CONFIG}
TEMPLATE = "{{ messages[0]['content'] }}"
WRITTEN = "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
"""What vLLM writes for an audio."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = saved(KIND, tmp_path_factory.mktemp(KIND))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--hf-overrides", json.dumps(OVERRIDES), "--chat-template", TEMPLATE, "--served-model-name", "tiny"),
        *("--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--host", "127.0.0.1"),
        *("--port", str(port)),
    ]
    environment = os.environ | HERE | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, tiny.RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def ask(address: str, text: str, audio: bytes) -> dict[str, Any]:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(audio).decode(), "format": "wav"}}
    content = [part, {"type": "text", "text": text}]
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "ignore_eos": True,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return dict(json.load(answer))


def test_requests_at_once_and_what_is_no_audio(server: str) -> None:
    seconds = [0.5 + 0.7 * i for i in range(20)]
    texts = [" ".join(tiny.WORDS[: 3 + i % 4]) for i in range(20)]
    audio = [tiny.sound(each, seed) for seed, each in enumerate(seconds)]
    questions = [Question(WRITTEN + text, [each]) for text, each in zip(texts, audio, strict=True)]
    processor = made(KIND)[1]
    wanted = [processor.tokenizer.decode(ids) for ids in answers(KIND, CONFIG, questions)]
    with hf_tokcomp.compressed(processor, CONFIG):
        lengths = [question.inputs(KIND, processor)["input_ids"].shape[1] for question in questions]
    with ThreadPoolExecutor(20) as pool:
        given = list(pool.map(lambda text, each: ask(server, text, wav(each)), texts, audio))
    assert [each["choices"][0]["message"]["content"].strip() for each in given] == [each.strip() for each in wanted]
    assert [each["usage"]["prompt_tokens"] for each in given] == lengths

    # What cannot be decoded is vLLM's to refuse, which it does with a status of its own.
    for broken, codes in (
        *((each, range(400, 600)) for each in (wav(audio[0])[:60], b"a text")),
        *((each, range(400, 500)) for each in (b"", wav(np.zeros(0, np.float32)), wav(np.zeros(100, np.float32)))),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(server, "what", broken)
        assert refused.value.code in codes
    assert ask(server, texts[0], wav(audio[0]))["choices"][0]["message"] == given[0]["choices"][0]["message"]
