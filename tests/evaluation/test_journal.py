"""The journal: nothing that was written is lost or counted twice, whenever the program was killed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hf_tokcomp.evaluation.journal import Given, Journal

ONE = Given("digits", "0", "none@1", "seven\u2028 \x85three\n one", 40, 20)
TWO = Given("digits", "1", "none@1", "", 40, 20, (-1.5, -2.25), finished=False, padding=(20, 5))


def write(journal: Journal, *answers: Given) -> None:
    with journal.writing():
        journal.write(answers)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(Journal(tmp_path), ONE)
    write(Journal(tmp_path, 1), TWO)
    found = Journal(tmp_path).read()
    assert found == {ONE.key: ONE, TWO.key: TWO}
    assert Journal(tmp_path, 7).read() == found


@pytest.mark.parametrize("cut", [1, 10, -1, -20])
def test_a_line_that_was_cut_off_is_left_out_and_mended(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path)
    write(journal, ONE)
    whole = journal.file.read_bytes()
    write(journal, TWO)
    second = journal.file.read_bytes()[len(whole) :]
    journal.file.write_bytes(whole + second[:cut])
    assert journal.read() == {ONE.key: ONE}
    with journal.writing():
        assert journal.file.read_bytes() == whole
    write(journal, TWO)
    assert journal.read() == {ONE.key: ONE, TWO.key: TWO}


def test_only_the_own_file_is_mended(tmp_path: Path) -> None:
    write(Journal(tmp_path, 1), ONE)
    with Journal(tmp_path, 1).file.open("ab") as stream:
        stream.write(b'{"task"')
    before = Journal(tmp_path, 1).file.read_bytes()
    write(Journal(tmp_path, 0))
    assert Journal(tmp_path, 1).file.read_bytes() == before
    write(Journal(tmp_path, 1))
    assert Journal(tmp_path, 1).file.read_bytes() == before[: -len(b'{"task"')]


def test_an_answer_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write(Journal(tmp_path), ONE, ONE)
    write(Journal(tmp_path, 1), Given(*ONE.key, "later", 1, 1))
    assert list(Journal(tmp_path).read().values()) == [ONE]


@pytest.mark.parametrize("line", ["{}", "[]", '{"task": 1', '{"task": "a", "other": 2}', "\xff"])
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, line: str) -> None:
    journal = Journal(tmp_path)
    write(journal, ONE)
    with journal.file.open("ab") as stream:
        stream.write(line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"answers-0\.jsonl, line 2 is no answer"):
        journal.read()


def test_nothing_is_there_before_anything_is_written(tmp_path: Path) -> None:
    assert Journal(tmp_path).read() == {}
    assert not Journal(tmp_path).file.exists()
    with pytest.raises(RuntimeError, match="writing"):
        Journal(tmp_path).write([ONE])


def test_two_programs_do_not_write_to_one_file(tmp_path: Path) -> None:
    with Journal(tmp_path).writing():
        with pytest.raises(RuntimeError, match=r"Another program is writing to .*answers-0\.jsonl"):
            write(Journal(tmp_path), ONE)
        write(Journal(tmp_path, 1), ONE)
    write(Journal(tmp_path), TWO)
    assert len(Journal(tmp_path).read()) == 2


def test_numbers_that_json_has_not_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(Journal(tmp_path), Given(*ONE.key, "x", 1, 1, (math.nan,)))
    assert Journal(tmp_path).read() == {}
