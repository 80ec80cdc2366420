"""One HTTP server, started as docs/serving.md says, with its JSON overrides; `make vllm-test` runs it."""

from __future__ import annotations

import base64
import copy
import io
import json
import sys
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
from http_servers import ServerProcess, free_port

import hf_tokcomp

KIND = "qwen2_audio"
CONFIG = {"method": "ltbm", "retention_ratio": 0.25}
OVERRIDES = {"architectures": ["HfTokcompQwen2AudioForConditionalGeneration"], "audio_compression": CONFIG}
TEMPLATE = "{{ messages[0]['content'] }}"
WRITTEN = "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"
"""What vLLM writes for an audio."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(KIND, tmp_path_factory.mktemp(KIND))


def started(folder: Path, *options: str) -> ServerProcess:
    """A server of a folder.

    Args:
        folder: the model.
        options: further ones of vLLM.
    """
    port = free_port()
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--hf-overrides", json.dumps(OVERRIDES), "--chat-template", TEMPLATE, "--served-model-name", "tiny"),
        *("--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--host", "127.0.0.1"),
        *("--port", str(port), *options),
    ]
    return ServerProcess(command, port, folder / "server.log", HERE | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    found = started(folder, "--trust-request-mm-kwargs")
    try:
        found.wait()
        yield found
    finally:
        found.kill()


def wav(samples: np.ndarray, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, tiny.RATE, format=form, subtype={"WAV": "FLOAT", "FLAC": "PCM_16"}[form])
    return file.getvalue()


class Refused(Exception):
    """The server's status and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def ask(address: str, text: str, audio: bytes, **more: Any) -> dict[str, Any]:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(audio).decode(), "format": "wav"}}
    content = [part, {"type": "text", "text": text}]
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "ignore_eos": True,
        **more,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.read().decode()) from error


def said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"]).strip()


SECONDS = [0.5 + 0.7 * i for i in range(20)]
TEXTS = [" ".join(tiny.WORDS[: 3 + i % 4]) for i in range(20)]


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    audio = [tiny.sound(each, seed) for seed, each in enumerate(SECONDS)]
    return [Question(WRITTEN + text, [each]) for text, each in zip(TEXTS, audio, strict=True)]


def expected(config: dict[str, Any], questions: list[Question]) -> tuple[list[str], list[int]]:
    """The texts of the patched transformers model, and the lengths of the prompts that its processor makes."""
    processor = made(KIND)[1]
    texts = [processor.tokenizer.decode(ids).strip() for ids in answers(KIND, config, questions)]
    with hf_tokcomp.compressed(processor, config):
        return texts, [question.inputs(KIND, processor)["input_ids"].shape[1] for question in questions]


def asked(server: ServerProcess, questions: list[Question], **more: Any) -> tuple[list[str], list[int]]:
    """What the server answers when all are asked at once."""
    with ThreadPoolExecutor(20) as pool:
        given = list(
            pool.map(lambda q: ask(server.address, q.text[len(WRITTEN) :], wav(q.audio[0]), **more), questions)
        )
    return [said(each) for each in given], [each["usage"]["prompt_tokens"] for each in given]


def test_requests_at_once(server: ServerProcess, questions: list[Question]) -> None:
    assert asked(server, questions) == expected(CONFIG, questions)


def test_a_requests_own_budget(server: ServerProcess, questions: list[Question]) -> None:
    own = {"retention_ratio": 0.1}
    given = asked(server, questions[:6], mm_processor_kwargs={"audio_compression": own})
    assert given == expected(CONFIG | own, questions[:6])
    for wrong in ({"retention_ratio": 0.5}, {"method": "stride", "max_tokens": 2}, {"windo": 3}, "ltbm"):
        with pytest.raises(Refused) as refused:
            ask(server.address, "what", wav(questions[5].audio[0]), mm_processor_kwargs={"audio_compression": wrong})
        assert refused.value.code == 400
        assert "audio_compression=" in refused.value.message or "at most" in refused.value.message
    assert asked(server, questions[:2]) == expected(CONFIG, questions[:2])


def test_what_is_no_audio(server: ServerProcess, questions: list[Question]) -> None:
    whole = wav(questions[0].audio[0])
    for broken, codes in (
        (b"a text", {400}),
        (b"", {400}),
        (wav(np.zeros(0, np.float32)), {400}),
        (wav(np.zeros(100, np.float32)), {400}),  # too short for a single token
        (whole[:60], {400, 500}),  # a header that promises more is an error of vLLM's own reader
    ):
        with pytest.raises(Refused) as refused:
            ask(server.address, "what", broken)
        assert refused.value.code in codes
    cut_off = ask(server.address, "what", whole[: len(whole) // 2])
    assert cut_off["usage"]["completion_tokens"] == TOKENS
    assert asked(server, questions[:1]) == expected(CONFIG, questions[:1])


def test_long_audio(server: ServerProcess) -> None:
    """This model reads the first 30 s of what vLLM lets in, as in transformers."""
    begin = tiny.sound(30.0, 3)
    minutes = {
        n: wav(np.concatenate([begin, np.zeros((n * 60 - 30) * tiny.RATE, np.float32)]), "FLAC") for n in (9, 20)
    }
    heard = soundfile.read(io.BytesIO(minutes[9]), dtype="float32", frames=len(begin))[0]
    (text,), (length,) = expected(CONFIG, [Question(WRITTEN + TEXTS[0], [heard])])
    answer = ask(server.address, TEXTS[0], minutes[9])
    assert (said(answer), answer["usage"]["prompt_tokens"]) == (text, length)
    with pytest.raises(Refused, match=r"400.*Audio exceeds maximum allowed duration of 600s"):
        ask(server.address, TEXTS[0], minutes[20])


def test_killed_and_started_again(server: ServerProcess, folder: Path, questions: list[Question]) -> None:
    before = asked(server, questions[:8])
    server.kill()
    again = started(folder)
    try:
        again.wait()
        assert asked(again, questions[:8]) == before
    finally:
        again.kill()


def test_an_adapter_of_another_compression_is_refused_at_start(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    targets = hf_tokcomp.supported_models()[KIND].lora_targets["language_model"]
    get_peft_model(copy.deepcopy(made(KIND)[0]), LoraConfig(r=8, target_modules=targets)).save_pretrained(tmp_path)
    hf_tokcomp.CompressionConfig.from_dict(CONFIG | {"retention_ratio": 0.5}).save_pretrained(tmp_path)
    server = started(folder, "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"tuned={tmp_path}")
    try:
        assert server.process.wait(300)
    finally:
        server.kill()
    assert "The adapter 'tuned' was trained under" in server.said
