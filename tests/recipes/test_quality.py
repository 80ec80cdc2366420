"""`python -m recipes.quality`: the page of results, from the corpora, on fewer items."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from result_folders import results_in

from hf_tokcomp.reporting.pages import END
from recipes import quality


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "COMPRESSIONS", ("stride", "random"))
    monkeypatch.setattr(quality, "RATIOS", (1.0, 0.5, 0.25))
    monkeypatch.setattr(quality, "PAIRS", (("stride", "random"),))


@pytest.mark.usefixtures("few")
def test_tables_and_differences_are_written_to_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = os.environ.get("HF_TOKCOMP_DATA")
    if not data:
        pytest.skip("HF_TOKCOMP_DATA does not name a folder with digits/ and sounds/")
    page, out = tmp_path / "page.md", tmp_path / "out"
    page.write_text(f"Before\n{quality.BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert quality.main([str(out), "--data", data, "--items", "8", "--markdown", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    tables, compared = ((out / name).read_text(encoding="utf-8").strip() for name in ("results.md", quality.COMPARED))
    assert text == f"Before\n{quality.BEGIN}\n\n{tables}\n\n{compared}\n\n{END}\nafter\n"
    assert tables in capsys.readouterr().out
    picture = (tmp_path / "page.svg").read_text(encoding="utf-8")
    assert picture.rstrip().endswith("</svg>")
    assert "stride" not in picture, "the picture has no room for all methods"
    assert "random" in picture
    values = {
        (each["task"], each["method"], each["ratio"], each["positions"]): each["value"]
        for each in results_in(out)["scores"]
        if each["metric"] != "rouge_l"
    }
    assert len(values) == 3 * (1 + 2 * 2 * 2)
    parts = compared.split("### ")[1:]
    assert [part.split(":")[0] for part in parts] == ["Digit strings", "Captions of sounds", "Questions about sounds"]
    for task, part in zip(quality.TASKS, parts, strict=True):
        rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", part, re.MULTILINE))
        assert list(rows) == ["stride - random", *(f"{name}, original - contiguous" for name in ("stride", "random"))]
        for name, first, second in (
            ("stride - random", ("stride", "original"), ("random", "original")),
            ("random, original - contiguous", ("random", "original"), ("random", "contiguous")),
        ):
            for ratio, cell in zip((0.5, 0.25), rows[name].split(" | "), strict=True):
                one, two = (values[task, method, ratio, kind] for method, kind in (first, second))
                assert float(cell.split(" ")[0]) == pytest.approx(one - two, abs=0.051)
                low, high = re.findall(r"[-+][\d.]+", cell)[1:]
                assert float(low) <= float(cell.split(" ")[0]) <= float(high)


@pytest.mark.usefixtures("few")
def test_errors_come_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("no markers", encoding="utf-8")
    out = tmp_path / "out"
    assert quality.main([str(out), "--data", str(tmp_path), "--markdown", str(tmp_path / "page.md")]) == 1
    assert "has no place for the tables" in capsys.readouterr().err
    assert quality.main([str(out), "--data", str(tmp_path)]) == 1
    assert "no folder digits" in capsys.readouterr().err
    assert not out.exists()
