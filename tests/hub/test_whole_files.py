"""Files that are written whole or not at all, on a disk that is really full."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hf_tokcomp
from hf_tokcomp.cards import write_card
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation.folder import RESULTS, SETTINGS, ResultFolder
from hf_tokcomp.evaluation.journal import Given, Journal
from hf_tokcomp.evaluation.plan import plan
from hf_tokcomp.hub.whole_files import whole_file, whole_folder, write_whole
from hf_tokcomp.reporting.pages import END, fill_place

CONFIG = hf_tokcomp.CompressionConfig(method="ltbm")
PACKAGE = Path(hf_tokcomp.__file__).parent


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.name != "posix" or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system may not be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Nothing more can be written."""
    with (disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert shutil.disk_usage(disk).free == 0


def there(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def refuses(write: Callable[[], Any], file: Path, folder: Path) -> None:
    """Writing fails, names the file, and leaves everything as it was."""
    before = there(folder)
    with pytest.raises(OSError, match="No space left on device; ") as caught:
        write()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(file)
    assert there(folder) == before


def test_a_full_disk_names_the_file_and_leaves_nothing_half(disk: Path) -> None:
    runs, _ = plan(["ltbm"], [0.5], [], 1)
    (disk / "page.md").write_text(f"<!-- begin -->\n{END}\n")
    results = ResultFolder(disk / "eval")
    results.begin({"tasks": {}}, runs, {})
    (disk / "picture").mkdir()
    fill(disk)
    file = disk / "some.json"
    refuses(lambda: write_whole(file, "x" * 10_000), file, disk)
    refuses(lambda: CONFIG.save_pretrained(disk), disk / "compression_config.json", disk)
    refuses(lambda: write_card(disk, CONFIG, "someone/name"), disk / "README.md", disk)
    refuses(lambda: fill_place(disk / "page.md", "<!-- begin -->", "text " * 2000), disk / "page.md", disk)
    refuses(lambda: results.begin({"tasks": {}}, runs, {"n": "x" * 10_000}), disk / "eval" / SETTINGS, disk)
    refuses(lambda: results.finish([], [], "text", {}), disk / "eval" / RESULTS, disk)
    figure = pytest.importorskip("matplotlib.figure").Figure()
    from hf_tokcomp.plotting import save

    for suffix in ("png", "pdf", "svg"):
        picture = disk / "picture" / f"a.{suffix}"
        refuses(lambda picture=picture: save(figure, picture), picture, disk)  # type: ignore[misc]


def test_a_journal_on_a_full_disk_keeps_the_answers_before(disk: Path) -> None:
    journal = Journal(disk)
    first = Given("t", "1", "none", "an answer", 2, 1)
    with journal.writing():
        journal.write([first])
        fill(disk)
        # What is left of a block takes a few short answers more; of these, none.
        refuses(lambda: journal.write([Given("t", "2", "none", "x" * 9000, 2, 1)]), journal.file, disk)
        (disk / "filling").unlink()
        journal.write([Given("t", "3", "none", "later", 2, 1)])
    assert [given.item for given in Journal(disk).read().values()] == ["1", "3"]


def test_commands_on_a_full_disk_say_one_line(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (disk / "README.md").write_text("---\nlicense: mit\n---\n")
    fill(disk)
    before = there(disk)
    compare = [
        "compare",
        "--compression",
        "ltbm",
        "--retention-ratio",
        "1/4",
        "--positions",
        "contiguous",
        "--max-new-tokens",
        "12",
    ]
    for arguments, file in (
        (["card", "a/b", "--compression", "ltbm", "-o", str(disk / "README.md")], "README.md"),
        ([*compare, "--output", str(disk / "report.json")], "report.json"),
        (["eval", "digits", "--items", "1", "--output", str(disk / "eval")], f"eval/{SETTINGS}"),
    ):
        assert main(arguments) == 1
        err = capsys.readouterr().err
        wanted = f"hf-tokcomp: error: {disk / file}: No space left on device; what was there before stays.\n"
        assert err == wanted or "digits" in err  # the recordings of `eval digits` may not be there
        assert there(disk) == before


def test_a_folder_on_a_full_disk_is_not_there(disk: Path) -> None:
    def write() -> None:
        with whole_folder(disk / "new") as part:
            (part / "small").write_text("text")
            (part / "large").write_bytes(b"x" * 2**17)

    refuses(write, disk / "new", disk)
    assert list(disk.iterdir()) == []


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    file = tmp_path / "file.txt"
    write_whole(file, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large; what was there before stays") as caught:
            write_whole(file, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(file)
    assert there(tmp_path) == {"file.txt": b"old"}


def test_what_ends_the_writing_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    write_whole(file, "old")
    for end in (KeyboardInterrupt, ValueError):
        with pytest.raises(end), whole_file(file) as part:  # noqa: PT012 - the block is what is tested
            part.write_text("half")
            raise end
    assert there(tmp_path) == {"file.txt": b"old"}
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "absent" / "file.txt", "text")
    assert caught.value.filename == str(tmp_path / "absent" / "file.txt")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    for end in (KeyboardInterrupt, ValueError):
        with pytest.raises(end), whole_folder(tmp_path / "new") as part:  # noqa: PT012 - the block is what is tested
            (part / "half").write_text("half")
            raise end
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()
    with whole_folder(tmp_path / "new") as part:
        (part / "file").write_text("whole")
        assert there(tmp_path / "new") == {}
    assert there(tmp_path) == {"new/file": b"whole"}
    with pytest.raises(FileExistsError, match="holds files already"), whole_folder(tmp_path / "new"):
        pass
    assert there(tmp_path) == {"new/file": b"whole"}


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions as POSIX has them")
def test_links_pipes_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link, pipe = tmp_path / "real" / "a.json", tmp_path / "link.json", tmp_path / "pipe"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, "new \N{SNOWMAN}\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"new \xe2\x98\x83\n"
    assert real.stat().st_mode & 0o777 == 0o640
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through")
    reader.join()
    assert found == ["through"]
    write_whole(os.devnull, "nowhere")


def test_the_package_writes_no_file_in_another_way() -> None:
    # The journal appends, and takes back what it could not write whole.
    for file in PACKAGE.rglob("*.py"):
        if file.name in ("whole_files.py", "journal.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                where = f"{file.name}, line {node.lineno}"
                if node.func.attr in ("write_text", "write_bytes"):
                    written = ast.unparse(node.func.value)
                    assert written == "part", f"{where}: use write_whole"
                modes = [ast.unparse(a) for a in (*node.args, *(k.value for k in node.keywords))]
                if node.func.attr == "open" and any(mode.strip("'\"") in ("w", "wb", "wt", "x") for mode in modes):
                    assert ast.unparse(node.func.value) == "part", f"{where}: use whole_file"


def test_a_config_is_read_while_it_is_written_anew(tmp_path: Path) -> None:
    CONFIG.save_pretrained(tmp_path)
    writers = [threading.Thread(target=lambda: [CONFIG.save_pretrained(tmp_path) for _ in range(50)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert json.loads((tmp_path / "compression_config.json").read_text())["method"] == "ltbm"
    assert there(tmp_path).keys() == {"compression_config.json"}
