"""Names on a Hub that gives no answer, and devices that are not there: an error in words, before anything is loaded."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_client import Hub
from huggingface_hub import constants

from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.cli import main
from hf_tokcomp.hub.ids import MODEL_FILES, check_reachable
from hf_tokcomp.inference.devices import check_device


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, hub_here: Hub) -> str:
    """An address at which nobody listens, as the Hub's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    return address


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that huggingface_hub would wait before it tries again."""
    import huggingface_hub.utils._http as http

    found: list[float] = []
    monkeypatch.setattr(http.time, "sleep", found.append, raising=False)
    return found


def commands(folder: Path) -> dict[str, list[str]]:
    rows = folder / "rows.jsonl"
    rows.write_text('{"audio": "a.wav", "text": "one"}\n')
    named = ["--model", "someone/absent"]
    return {
        "run": ["run", *named],
        "compare": ["compare", *named],
        "plot": ["plot", *named, "-o", str(folder / "a.png")],
        "bench": ["bench", *named],
        "eval": ["eval", "digits", *named, "--output", str(folder / "out")],
        "finetune": ["finetune", *named, "--dataset", str(rows), "--output-dir", str(folder / "out")],
        "compression": ["run", "--compression", "someone/absent"],
        "one word": ["run", "--model", "absent"],
    }


@pytest.mark.parametrize("command", ["run", "compare", "plot", "bench", "eval", "finetune", "compression", "one word"])
def test_a_hub_that_gives_no_answer_is_named_at_once(
    command: str, closed: str, waits: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(commands(tmp_path)[command]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for said in ("absent is no folder here and not in the cache", closed, "cannot be reached", "local folder"):
        assert said in err
    assert waits == []  # nothing was tried again and again
    assert not (tmp_path / "out").exists()


def test_offline_is_said(hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with hub.here(offline=True):
        for name, command in commands(tmp_path).items():
            assert main(command) == 1, name
            err = capsys.readouterr().err
            assert "HF_HUB_OFFLINE is set" in err
            assert err.count("\n") == 1
    assert hub.requests == []


def test_what_the_hub_answers_is_left_to_who_loads(hub_here: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub_here.put("someone/here", {"config.json": "{}"})
    for name in ("someone/here", "someone/absent", str(SMALL_MODEL), "./absent", "a/b/c", "someone/here@main"):
        check_reachable(name, MODEL_FILES)
    hub_here.fail(status=503, times=None)
    check_reachable("someone/here", MODEL_FILES)
    assert caplog.records == []


def test_a_cached_model_is_used_without_the_hub(
    hub_here: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import hf_hub_download

    hub_here.put("someone/cached", {"adapter_config.json": "{}"}, revision="v1")
    hf_hub_download("someone/cached", "adapter_config.json", revision="v1")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    check_reachable("someone/cached", MODEL_FILES)
    assert "HF_HUB_OFFLINE=1 saves those minutes" in caplog.text
    with hub_here.here(offline=True):
        check_reachable("someone/cached", MODEL_FILES)


def test_no_traceback_in_a_process_of_its_own(hub: Hub) -> None:
    code = "import sys; from hf_tokcomp.cli import main; sys.exit(main(['run', '--model', 'someone/absent']))"
    hub.endpoint = "http://127.0.0.1:9"
    done = hub.run(code, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("hf-tokcomp: error: someone/absent is no folder here")
    assert done.stderr.count("\n") == 1


# Devices


def missing() -> list[str]:
    """Devices that this machine does not have, whatever it has."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    kinds = [kind for kind in ("cuda", "mps", "xpu") if there is None or there.type != kind]
    return [*kinds, f"{kinds[0]}:1", "cuda:99", "cpu:7", "meta", "gpu", "", "cuda:x"]


@pytest.mark.parametrize("device", missing())
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ValueError, match=r"(no|is no) device .*There are: auto, cpu"):
        check_device(device)


def test_devices_that_are_there() -> None:
    for device in ("auto", "cpu", "cpu:0"):
        assert check_device(device) == device
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        assert kind is not None
        assert check_device(kind.type) == kind.type


@pytest.mark.parametrize("command", ["run", "compare", "plot", "bench", "eval"])
def test_a_missing_device_is_said_before_anything_is_loaded(
    command: str, hub_here: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = missing()[0]
    assert main([*commands(tmp_path)[command], "--device", device]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"hf-tokcomp: error: This machine has no device {device!r}")
    assert err.count("\n") == 1
    assert hub_here.requests == []


@pytest.mark.parametrize("module", ["recipes.costs.__main__", "hf_tokcomp.benchmarks.full_size"])
def test_benchmarks_say_it_too(module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib

    run: Callable[[list[str]], int] = importlib.import_module(module).main
    assert run([*([str(tmp_path / "x")] if "full_size" in module else []), "--device", missing()[0]]) == 1
    assert "This machine has no device" in capsys.readouterr().err
