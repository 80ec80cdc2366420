"""The recordings of a command line: bad ones among many, what is cut off, tokens kept beside those asked for, names."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compared
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
import tiny

Call = Callable[..., tuple[int, str, str]]
QUICK = ("--model", "./qwen2_audio", "--max-new-tokens", "2")


pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models, two good recordings and four bad ones, each in its own way."""
    folder = tmp_path_factory.mktemp("recordings")
    for kind in tiny.KINDS:
        tiny.model(kind).save_pretrained(folder / kind)
        tiny.processor(kind).save_pretrained(folder / kind)
    soundfile.write(folder / "long.wav", tiny.sound(0.96, 1), tiny.RATE)
    soundfile.write(folder / "short.flac", tiny.sound(0.5, 2), tiny.RATE)
    soundfile.write(folder / "over.wav", tiny.sound(2.5, 2), tiny.RATE)
    soundfile.write(folder / "blip.wav", tiny.sound(0.02, 2), tiny.RATE)
    soundfile.write(folder / "none.wav", tiny.sound(0.5, 2)[:0], tiny.RATE)
    (folder / "notes.wav").write_text("no sound\n")
    return folder


def report(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = result
    # A model with random weights gets all words wrong, which `compare` says where there is a truth.
    said = [line for line in err.splitlines() if "the uncompressed model itself gets" not in line]
    assert (code, said) == (0, []), err
    found: dict[str, Any] = json.loads(out)
    return found


# bad recordings among good ones

BAD = {
    "gone.wav": "There is no audio file gone.wav.",
    "notes.wav": "notes.wav is not audio",
    "none.wav": "none.wav has no samples.",
    "blip.wav": "blip.wav is too short",
}
MIXED = ("gone.wav", "long.wav", "notes.wav", "none.wav", "short.flac", "blip.wav")
COMMANDS = (("run",), ("compare", "--compression", "stride", "--retention-ratio", "1/2", "--positions", "original"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("bad", BAD)
def test_one_bad_recording_stops_before_any_is_read(call: Call, command: tuple[str, ...], bad: str) -> None:
    for given in ((), ("--on-error", "stop")):
        code, out, err = call(*command, "long.wav", bad, *QUICK, *given)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert BAD[bad] in err
        assert "--on-error skip" in err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_bad_recordings_are_skipped_and_named_at_the_end(call: Call, command: tuple[str, ...]) -> None:
    found = report(call(*command, *MIXED, *QUICK, "--on-error", "skip", "--json"))
    assert [row["audio"] for row in found["skipped"]] == list(BAD)
    for row in found["skipped"]:
        assert row["reason"].startswith(BAD[row["audio"]])
    alone = report(call(*command, "long.wav", "short.flac", *QUICK, "--json"))
    assert alone["skipped"] == []
    for key, part in (("results", "text"), ("recordings", "audio"), ("answers", "text")):
        assert [row[part] for row in found.get(key, ())] == [row[part] for row in alone.get(key, ())]
    code, out, err = call(*command, *MIXED, *QUICK, "--on-error", "skip")
    assert (code, err) == (0, "")
    lines = out.split("\nSkipped 4 of 6 recordings:\n")[1].splitlines()
    assert [line.strip().split(":")[0] for line in lines] == list(BAD)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_where_none_is_left_it_is_an_error(call: Call, command: tuple[str, ...]) -> None:
    code, out, err = call(*command, *BAD, *QUICK, "--on-error", "skip", "--json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "None of the 4 recordings can be read: There is no audio file gone.wav.; notes.wav is not" in err


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_an_empty_recording_alone_is_a_clear_error(call: Call, kind: str) -> None:
    for command in (*COMMANDS, ("plot", "-o", "x.png")):
        code, out, err = call(*command, "none.wav", "--model", f"./{kind}")
        assert (code, out, err) == (1, "", "hf-tokcomp: error: none.wav has no samples.\n")


def test_a_manifest_with_bad_recordings(call: Call, folder: Path) -> None:
    """And with letters that end a line for Python and not for JSON, and a byte order mark."""
    rows = [{"audio": name, "text": "a\u2028b"} for name in MIXED]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "m.jsonl").write_text("\ufeff" + lines, encoding="utf-8")
    found = report(call("run", "--dataset", "m.jsonl", *QUICK, "--on-error", "skip", "--json"))
    assert [row["audio"] for row in found["skipped"]] == list(BAD)
    assert [row["truth"] for row in found["results"]] == ["a\u2028b"] * 2


# folders and tables


def audios(found: dict[str, Any]) -> list[str]:
    return [row["audio"] for row in found.get("results", found.get("recordings", ()))]


@pytest.fixture(scope="module")
def some(folder: Path) -> Path:
    """A folder of recordings, with truths in a table that no argument names."""
    (folder / "some" / "deep").mkdir(parents=True)
    for name in ("b.flac", "deep/a.flac"):
        (folder / "some" / name).write_bytes((folder / "short.flac").read_bytes())
    (folder / "some" / "notes.txt").touch()
    return folder / "some"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_folder_stands_for_all_its_recordings(call: Call, command: tuple[str, ...], some: Path) -> None:
    names = ["some/b.flac", "some/deep/a.flac"]
    assert audios(report(call(*command, "some", "long.wav", *QUICK, "--json"))) == [*names, "long.wav"]
    assert audios(report(call(*command, "--dataset", "some", *QUICK, "--json"))) == names
    assert audios(report(call(*command, "--dataset", "some", "--split", "deep", *QUICK, "--json"))) == names[1:]
    (some / "none").mkdir(exist_ok=True)
    code, out, err = call(*command, "some/none", *QUICK)
    assert (code, out) == (1, "")
    assert "some/none holds no recordings: no file ends in .wav, " in err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_tables_name_their_columns_and_parts(call: Call, folder: Path, command: tuple[str, ...]) -> None:
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "dev.csv").write_text("sound,said,asked\n../long.wav,one,Why?\n../short.flac,,\n")
    given = ("--dataset", "parts", "--split", "dev", *QUICK)
    named = ("--columns", "audio:sound,text:said,question:asked")
    found = report(call(*command, *given, *named, "--prompt", "What?", "--json"))
    rows = found.get("results", found.get("recordings", ()))
    assert [(row["truth"], row["prompt"]) for row in rows] == [("one", "Why?"), (None, "What?")]
    assert audios(found) == ["long.wav", "short.flac"]
    code, out, err = call(*command, *given)
    assert (code, out) == (1, "")
    assert "has the columns sound, said, asked, none of which is called audio, " in err
    assert "no role 'sound'" in call(*command, *given, "--columns", "sound:audio")[2]
    for alone in (("--split", "dev"), named):
        assert f"{alone[0]}: of which table? Add --dataset." in call(*command, "long.wav", *QUICK, *alone)[2]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_rows_without_audio_are_named_with_their_line(call: Call, folder: Path, command: tuple[str, ...]) -> None:
    (folder / "holes.csv").write_text("audio,text\n\nlong.wav,one\n,two\ngone.wav,three\n")
    given = (*command, "--dataset", "holes.csv", *QUICK)
    code, out, err = call(*given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "1 of the 3 rows of holes.csv cannot be used: line 4: there is no audio. Fix them, or leave" in err
    found = report(call(*given, "--on-error", "skip", "--json"))
    assert audios(found) == ["long.wav"]
    assert found["skipped"] == [
        {"audio": "holes.csv, line 4", "reason": "there is no audio."},
        {"audio": "gone.wav", "reason": "holes.csv, line 5: There is no audio file gone.wav."},
    ]


def test_audio_inside_a_table_is_named_by_its_row(call: Call, folder: Path) -> None:
    contents = [(folder / "short.flac").read_bytes(), b"no audio"]
    pyarrow.parquet.write_table(pa.table({"audio": contents, "text": ["one", "two"]}), folder / "inside.parquet")
    found = report(call("run", "--dataset", "inside.parquet", *QUICK, "--on-error", "skip", "--json"))
    assert audios(found) == ["inside.parquet, row 0"]
    assert found["skipped"][0]["audio"] == "inside.parquet, row 1"
    assert found["skipped"][0]["reason"].startswith("inside.parquet, row 1 is not audio that")


# what is cut off


def test_seconds_that_are_cut_off_are_in_the_json(call: Call) -> None:
    for command in COMMANDS:
        for kind, dropped in (("qwen2_audio", 1.5), ("audioflamingo3", 0)):
            code, out, err = call(
                *command, "over.wav", "short.flac", "--model", f"./{kind}", "--max-new-tokens", "2", "--json"
            )
            assert code == 0
            assert ("the model reads the first 1 s only" in err) == bool(dropped)
            found = json.loads(out)
            rows = found["results"] if command[0] == "run" else found["recordings"]
            assert [row["seconds_dropped"] for row in rows] == [dropped, 0]
    assert "over.wav  (2.5 s, the last 1.5 s not read)" in call("run", "over.wav", *QUICK)[1]
    assert "over.wav  (2.5 s, the last 1.5 s not read)" in call(*COMMANDS[1], "over.wav", *QUICK)[1]


# tokens kept, and asked for


def test_run_shows_what_was_asked_for(call: Call) -> None:
    given = ("run", "short.flac", *QUICK, "--compression")
    for method, after, asked in (
        ("segmentwise_top_k", 6, 6),
        ("segmentwise_top_k:segments=5", 5, 6),
        ("none", 12, None),
    ):
        (row,) = json.loads(call(*given, method, "--json")[1])["results"]  # stderr may warn of the difference
        assert (row["tokens_before"], row["tokens_after"], row["tokens_asked"]) == (12, after, asked)
        line = re.findall(r"tokens +(.*)", call(*given, method)[1])
        assert line == [f"12 -> {after}" + (f", asked for {asked}" if asked else "")]


def test_compare_shows_what_was_asked_for(call: Call, folder: Path) -> None:
    (folder / "truth.jsonl").write_text(json.dumps({"audio": "short.flac", "text": "one"}) + "\n")
    options = ("--compression", "segmentwise_top_k:segments=5", "--retention-ratio", "1/2", "--positions", "original")
    found = json.loads(call("compare", "short.flac", *QUICK, *options, "--json")[1])
    cells = {method: cell for (method, _, _), cell in compared.cells(found).items()}
    kept = cells["segmentwise_top_k:segments=5"]
    assert (kept["tokens_after"], kept["tokens_asked"]) == ([[5]], [[6]])
    assert cells["none"]["tokens_asked"] == [[None]]
    scored = json.loads(call("compare", "--dataset", "truth.jsonl", *QUICK, *options, "--json")[1])
    cells = {method: cell for (method, _, _), cell in compared.cells(scored).items()}
    kept = cells["segmentwise_top_k:segments=5"]
    assert (kept["kept"], kept["asked"]) == (5 / 12, 0.5)
    assert cells["none"]["asked"] is None
    lines = call("compare", "short.flac", *QUICK, *options)[1].splitlines()
    assert lines[1].split() == ["method", "ratio", "positions", "tokens", "asked", "text"]
    assert lines[2].split()[:5] == ["none", "1", "-", "12", "-"]
    assert lines[3].split()[1:5] == ["1/2", "original", "5", "6"]
    table = call("compare", "--dataset", "truth.jsonl", *QUICK, *options)[1].split("Audio tokens really kept")[1]
    assert re.match(r" / asked for, in %.*\n.*\nnone +100.0\nsegmentwise_top_k:segments=5 +41.7/50.0\n", table)


# names


def test_messages_and_reports_show_names_shortened(call: Call, folder: Path) -> None:
    content = base64.b64encode((folder / "short.flac").read_bytes()).decode()
    assert len(content) > 5_000
    address = f"data:audio/flac;base64,{content}"
    for command in COMMANDS:
        code, out, err = call(*command, address, *QUICK)
        assert (code, err) == (0, "")
        assert "data:audio/flac;base64" in out
        assert content[:200] not in out
        found = report(call(*command, address, *QUICK, "--json"))
        (row,) = found["results"] if command[0] == "run" else found["recordings"]
        assert len(row["audio"]) < 200
        for wrong in (content, f"data:audio/flac;base64,{content[:-3]}", "x" * 70_000, f"ftp://{content}"):
            code, out, err = call(*command, wrong, *QUICK)
            assert (code, out) == (1, "")
            assert len(err) < 600
            code, out, err = call(*command, wrong, "short.flac", *QUICK, "--on-error", "skip", "--json")
            assert (code, err) == (0, "")
            assert all(len(value) < 600 for value in json.loads(out)["skipped"][0].values())


def test_addresses_of_files_are_read(call: Call, folder: Path) -> None:
    address = (folder / "short.flac").as_uri()
    (one,) = report(call("run", address, *QUICK, "--json"))["results"]
    assert (one["audio"], one["tokens_before"]) == (address, 12)
    (folder / "a.jsonl").write_text(json.dumps({"audio": address.replace("file", "FILE")}) + "\n")
    (two,) = report(call("run", "--dataset", "a.jsonl", *QUICK, "--json"))["results"]
    assert two["text"] == one["text"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "short.flac", "--model", "./" + "x" * 70_000),
        ("run", "short.flac", "--model", "x" * 70_000),
        ("run", "short.flac", *QUICK, "--compression", "x" * 70_000),
        ("run", "short.flac", *QUICK, "--compression", '{"method": "' + "x" * 70_000 + '"}'),
        ("run", "short.flac", *QUICK, "--prompt", "<|AUDIO|><|AUDIO|>" + "x" * 70_000),
        ("run", "short.flac", *QUICK, "--device", "x" * 70_000),
        ("run", "--dataset", "x" * 70_000, *QUICK),
        ("compare", "short.flac", *QUICK, "--compression", "x" * 70_000),
        ("compare", "short.flac", *QUICK, "--retention-ratio", "x" * 70_000),
        ("compare", "short.flac", *QUICK, "--positions", "x" * 70_000),
        ("compare", "short.flac", *QUICK, "--output", "x" * 70_000 + "/y.json"),
        ("plot", "short.flac", *QUICK, "-o", "x" * 70_000),
        ("plot", "short.flac", *QUICK, "-o", "x" * 70_000 + "/y.png"),
    ],
    ids=lambda arguments: " ".join(word[:20] for word in arguments),
)
def test_whatever_is_given_the_message_is_short(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert len(err) < 1_000, f"{err[:500]} ... {err[-500:]}"
