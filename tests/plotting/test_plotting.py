"""Pictures hold what the data says: every shape is read back from the figure and compared with the assignment."""

from __future__ import annotations

import itertools
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from places import ROOT

import hf_tokcomp
from hf_tokcomp import Assignment, AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionRecord

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib, the extra `plot`")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import to_hex, to_rgb  # noqa: E402

from hf_tokcomp import plotting  # noqa: E402
from hf_tokcomp.plotting import Panel, Spectrogram  # noqa: E402
from hf_tokcomp.plotting import plot_compression as plot_at_a_rate  # noqa: E402
from hf_tokcomp.plotting.tokens import DROPPED, PALETTE, find_arcs, find_runs, slot_colours  # noqa: E402

RATE = 25.0
plot_compression = partial(plot_at_a_rate, frame_rate=RATE)


def silence(seconds: float) -> Spectrogram:
    return Spectrogram(np.zeros((16, max(1, round(100 * seconds)))), seconds)


def record_of(method: str, tokens: int, ratio: float = 0.5, seed: int = 0, **options: Any) -> CompressionRecord:
    """What a method does to random tokens."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, tokens, 8, generator=generator)
    batch = AudioTokens(features, [tokens], attention=torch.rand(1, tokens, generator=generator))
    config = CompressionConfig(method=method, retention_ratio=ratio, **options)
    audio = AudioTokenCompressor.from_config(config)(batch)
    assert audio.assignment is not None
    return CompressionRecord([tokens], audio.counts, audio.assignment, audio.assignment.token_times(25.0))


def panel_of(method: str, tokens: int, ratio: float = 0.5, seed: int = 0, **more: Any) -> Panel:
    return Panel.of_record(method, record_of(method, tokens, ratio, seed), **more)


def by_id(figure: Any, gid: str) -> Any:
    """The one artist with this id."""
    (found,) = figure.findobj(lambda artist: artist.get_gid() == gid)
    return found


def ids(figure: Any) -> list[str]:
    return [axes.get_gid() for axes in figure.axes]


def spans(collection: Any) -> np.ndarray:
    """``(rectangles, 2)`` from left to right, as drawn."""
    corners = [path.vertices for path in collection.get_paths()]
    return np.array([[c[:, 0].min(), c[:, 0].max()] for c in corners])


def heights(collection: Any) -> np.ndarray:
    return np.array([np.ptp(path.vertices[:, 1]) for path in collection.get_paths()])


def hues(collection: Any) -> list[str]:
    return [to_hex(face) for face in collection.get_facecolor()]


# tokens


@pytest.mark.parametrize("method", ["segmentwise_top_k", "random", "stride", "average_pooling"])
def test_slots_are_drawn_where_they_are(method: str) -> None:
    record = record_of(method, 40, 0.4)
    figure = plot_compression(silence(1.6), [Panel.of_record(method, record)])
    drawn = by_id(figure, "tokens-0-slots")
    assert record.times is not None
    np.testing.assert_allclose(spans(drawn), record.times[0], atol=1e-9)
    assert set(heights(drawn)) == {1.0}
    assert to_hex(DROPPED) not in hues(drawn)


def test_dropped_tokens_are_drawn_as_dropped() -> None:
    record = record_of("top_k", 30)
    figure = plot_compression(silence(1.2), [Panel.of_record("top_k", record)])
    drawn = by_id(figure, "tokens-0-dropped")
    assert record.assignment is not None
    dropped = torch.nonzero(record.assignment.slot[0] < 0).flatten().numpy()
    assert len(dropped) == 15
    np.testing.assert_allclose(spans(drawn), np.stack([dropped, dropped + 1], 1) / RATE)
    assert set(hues(drawn)) == {to_hex(DROPPED)}


def test_nothing_is_dropped_where_all_is_merged() -> None:
    figure = plot_compression(silence(1.2), [panel_of("ltbm", 30)])
    assert figure.findobj(lambda artist: artist.get_gid() == "tokens-0-dropped") == []
    assert "dropped" not in words_of(figure)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["global_merge", "ltbm", "average_pooling", "random"])
def test_members_share_a_colour_and_neighbours_differ(method: str, seed: int) -> None:
    panel = panel_of(method, 60, 0.3, seed)
    drawn = by_id(plot_compression(silence(2.4), [panel]), "tokens-0-slots")
    assert panel.slot is not None
    colour_of = np.full(60, "", dtype=object)
    for (left, right), hue in zip(spans(drawn) * RATE, hues(drawn), strict=True):
        colour_of[round(left) : round(right)] = hue
    np.testing.assert_array_equal(colour_of == "", panel.slot < 0)
    for slot in range(panel.tokens_after):
        assert len(set(colour_of[panel.slot == slot])) == 1
    for left, right in itertools.pairwise(range(60)):
        if panel.slot[left] != panel.slot[right]:
            assert colour_of[left] != colour_of[right]


def test_a_slot_with_more_neighbours_than_colours() -> None:
    others = np.arange(1, 31)
    # Every other token is in slot 0, and each pair of the others meets once more, so that all of them differ from 0.
    slot = np.stack([np.zeros(30, dtype=int), others], 1).ravel()
    slot = np.concatenate([slot, np.array(list(itertools.combinations(range(12), 2))).ravel()])
    panel = Panel("clique", len(slot), 31, slot)
    colours = slot_colours(find_runs(panel))
    assert len({colours[i] for i in range(12)}) == 12
    assert all(0 <= value <= 1 for colour in colours for value in colour)


def test_kinds_have_their_own_colours() -> None:
    slot = np.array([0, 1, 1, 1, 2, 3, 2, -1, 4])
    runs = find_runs(Panel("kinds", 9, 5, slot))
    assert runs.kind.tolist() == [0, 1, 2, 0, 0]
    colours = slot_colours(runs)
    for number, kind in ((0, "kept"), (1, "neighbours"), (2, "apart"), (3, "kept"), (4, "kept")):
        assert to_hex(colours[number]) in PALETTE[kind]
    assert words_of(plot_compression(silence(0.36), [Panel("kinds", 9, 5, slot)])) >= {
        "kept unchanged",
        "neighbours merged",
        "merged across others: same colour, arc to its place",
        "dropped",
    }


def test_a_slot_across_a_dropped_token_is_not_one_run() -> None:
    drawn = by_id(plot_compression(silence(0.12), [Panel("gap", 3, 1, np.array([0, -1, 0]))]), "tokens-0-slots")
    np.testing.assert_allclose(spans(drawn), [[0, 0.04], [0.08, 0.12]])


# arcs


def test_arcs_lead_from_members_to_the_slot() -> None:
    panel = panel_of("global_merge", 40, 0.3)
    figure = plot_compression(silence(1.6), [panel])
    assert panel.slot is not None
    assert panel.position is not None
    wanted = set()
    runs = find_runs(panel)
    for start, end, slot in zip(runs.start.tolist(), runs.end.tolist(), runs.slot.tolist(), strict=True):
        place = int(panel.position[slot])
        if runs.kind[slot] == 2 and not start <= place < end:
            wanted.add((round((start + end) / 2 / RATE, 6), round((place + 0.5) / RATE, 6)))
    (lines,) = by_id(figure, "arcs-0").collections[:1]
    drawn = {(round(a[0, 0], 6), round(a[-1, 0], 6)) for a in lines.get_segments()}
    assert drawn == wanted
    assert len(wanted) > 3
    for arc in lines.get_segments():
        assert arc[[0, -1], 1] == pytest.approx([0, 0], abs=1e-9)
        assert 0 < arc[:, 1].max() <= by_id(figure, "arcs-0").get_ylim()[1]


def test_without_scattered_slots_there_are_no_arcs() -> None:
    figure = plot_compression(silence(1.2), [panel_of("average_pooling", 30), panel_of("top_k", 30)])
    assert ids(figure) == ["spectrogram", "tokens-0", "tokens-1"]


def test_arcs_stay_few_and_evenly_spread() -> None:
    generator = np.random.default_rng(0)
    slot = generator.permutation(np.arange(1500) % 300)
    panel = Panel("scattered", 1500, 300, slot)
    arcs = find_arcs(panel, find_runs(panel), RATE, 60.0)
    assert arcs.total > 1000
    assert 20 <= len(arcs.source) <= 60
    assert np.diff(arcs.source, prepend=0, append=60).max() < 5
    assert any("(some of the arcs)" in word for word in words_of(plot_compression(silence(60), [panel])))


# attention, time, spectrogram


def test_the_curve_is_the_attention_at_the_middle_of_the_tokens() -> None:
    scores = np.random.default_rng(0).random(30)
    figure = plot_compression(silence(1.2), [panel_of("top_k", 30, attention=scores), panel_of("ltbm", 30)])
    assert [name for name in ids(figure) if "attention" in name] == ["attention-0"]
    axes = by_id(figure, "attention-0")
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), scores)
    np.testing.assert_allclose(line.get_xdata(), (np.arange(30) + 0.5) / RATE)
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] >= scores.max()


def test_the_curve_is_filled_where_tokens_were_kept() -> None:
    scores = np.random.default_rng(0).random(30)
    panel = panel_of("top_k", 30, attention=scores)
    assert panel.slot is not None
    bars = by_id(plot_compression(silence(1.2), [panel]), "attention-0-kept")
    kept = np.flatnonzero(panel.slot >= 0)
    np.testing.assert_allclose(spans(bars)[:, 0], kept / RATE)
    np.testing.assert_allclose(heights(bars), scores[kept])


@pytest.mark.parametrize("seconds", [0.04, 1.237, 29.99, 600.0])
def test_all_axes_span_the_audio(seconds: float) -> None:
    tokens = max(1, int(seconds * RATE))
    panels = [Panel("none", tokens, tokens, np.arange(tokens)), Panel("one", tokens, 1, np.zeros(tokens))]
    figure = plot_compression(silence(seconds), panels)
    for axes in figure.axes:
        assert axes.get_xlim() == (0, seconds)
        assert axes.get_shared_x_axes().joined(axes, figure.axes[0])
    left = {round(axes.get_position().x0, 9) for axes in figure.axes}
    right = {round(axes.get_position().x1, 9) for axes in figure.axes}
    assert len(left) == len(right) == 1


def test_the_spectrogram_is_over_seconds_and_kilohertz() -> None:
    time = np.arange(32000) / 16000
    figure = plot_compression(0.5 * np.sin(2 * np.pi * 2000 * time), [panel_of("top_k", 50)])
    axes = by_id(figure, "spectrogram")
    (image,) = axes.images
    assert image.get_extent()[:2] == [0, 2.0]
    loudest = np.asarray(image.get_array()).mean(1).argmax() + 0.5
    ticks = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert set(ticks) == {"0.5", "1", "2", "4"}
    assert ticks["2"] == pytest.approx(loudest, abs=1)


def test_features_are_shown_without_their_padding() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    windows = np.arange(2 * 16 * 100, dtype=float).reshape(2, 16, 100)
    mask = np.ones((2, 100), dtype=int)
    mask[1, 40:] = 0
    shown = Spectrogram.of_features(extractor, windows, mask, 1.395)
    np.testing.assert_array_equal(shown.values, np.concatenate([windows[0], windows[1, :, :40]], 1))
    assert shown.seconds == 1.395
    assert Spectrogram.of_features(extractor, windows, mask, 1.405).seconds == 1.405
    assert Spectrogram.of_features(extractor, windows, mask, 9.0).seconds == 1.4  # the rest was cut off


# words


def words_of(figure: Any) -> set[str]:
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def test_names_counts_and_texts_are_there() -> None:
    panels = [panel_of("ltbm", 30, text=" seven three "), panel_of("top_k", 40, 0.25, text="")]
    words = words_of(plot_compression(silence(1.6), panels, title="a.wav", subtitle="What is it?"))
    assert {"a.wav", "What is it?", "ltbm", "top_k", "“seven three”", "(no text)"} <= words
    assert {"30 → 15 tokens (50 %)", "40 → 10 tokens (25 %)", "seconds"} <= words


LONG = "the quick brown fox jumps over the lazy dog " * 12


@pytest.mark.parametrize("width", [4.0, 10.0])
@pytest.mark.parametrize("seconds", [0.04, 3.0, 300.0])
def test_no_text_overlaps_another_or_leaves_the_page(width: float, seconds: float) -> None:
    tokens = max(1, int(seconds * RATE))
    attention = np.random.default_rng(0).random(tokens)
    panels = [
        Panel("a name of a method, and so many options that they fill a line on any page " * 3, tokens, 1, None),
        Panel("none", tokens, tokens, np.arange(tokens), None, attention, LONG),
        Panel("scattered", tokens, -(-tokens // 2), np.arange(tokens) % -(-tokens // 2), None, attention, "x" * 700),
    ]
    figure = plot_compression(silence(seconds), panels, title="title " * 80, subtitle=LONG, width=width)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if in_sight(t, figure)]
    assert len(boxes) > 15
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.height, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        apart = min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1
        assert apart, (one, other)


def in_sight(text: Any, figure: Any) -> bool:
    """Whether a text is drawn: tick labels beyond the limits, or switched off, are not."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    return bool(text.get_visible()) and low - 1e-9 <= tick.get_loc() <= high + 1e-9
    return True


def test_long_texts_are_wrapped_and_whole() -> None:
    figure = plot_compression(silence(1.2), [panel_of("ltbm", 30, text=LONG)])
    lines = [t.get_text() for t in figure.texts if "fox" in t.get_text() or "dog" in t.get_text()]
    assert len(lines) > 2
    assert " ".join(lines) == f"“{LONG.strip()}”"


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "text",
    ["$5 and $6", r"$\frac{$", "中文 日本語", "مرحبا שלום", "नमस्ते", "🎉🎉", "a\x00b\nc\td", "\ud800", "{}%s#&_^"],
)
def test_any_text_can_be_drawn(text: str, tmp_path: Path) -> None:
    figure = plot_compression(silence(1.2), [panel_of("ltbm", 30, text=text)], title=text, subtitle=text)
    assert plotting.save(figure, tmp_path / "picture.svg").stat().st_size > 1000
    assert plotting.save(figure, tmp_path / "picture.png").stat().st_size > 1000


# special cases


def test_none_and_methods_without_a_map() -> None:
    record = CompressionRecord([30], [30])
    learned = CompressionRecord([30], [4])
    figure = plot_compression(silence(1.2), [Panel.of_record("none", record), Panel.of_record("learned", learned)])
    tokens = np.arange(30)
    np.testing.assert_allclose(spans(by_id(figure, "tokens-0-slots")), np.stack([tokens, tokens + 1], 1) / RATE)
    assert "30 → 30 tokens (100 %)" in words_of(figure)
    assert "4 tokens that are not tied to moments of the audio" in words_of(figure)


def test_one_token(tmp_path: Path) -> None:
    panel = Panel("ltbm", 1, 1, np.zeros(1), None, np.ones(1), "hm")
    figure = plot_compression(np.zeros(700, dtype=np.float32), [panel])
    assert figure.axes[0].get_xlim() == (0, 700 / 16000)
    np.testing.assert_allclose(spans(by_id(figure, "tokens-0-slots")), [[0, 0.04]])
    assert plotting.save(figure, tmp_path / "one.png").exists()


def test_an_audio_without_tokens() -> None:
    figure = plot_compression(silence(0.01), [Panel("none", 0, 0, np.zeros(0))])
    assert "0 → 0 tokens" in words_of(figure)


def test_ten_minutes_are_quick_and_counted_right(tmp_path: Path) -> None:
    tokens = 15_000
    panels = [
        panel_of("segmentwise_top_k", tokens, attention=np.random.default_rng(0).random(tokens)),
        panel_of("average_pooling", tokens, 0.1),
        Panel("scattered", tokens, 5000, np.random.default_rng(0).permutation(np.arange(tokens) % 5000)),
    ]
    begin = time.perf_counter()
    figure = plot_compression(silence(600), panels)
    assert plotting.save(figure, tmp_path / "long.png").stat().st_size > 10_000
    assert time.perf_counter() - begin < 15
    assert len(figure.findobj(matplotlib.collections.Collection)) < 30
    for number, (panel, kind) in enumerate(zip(panels, ("kept", "neighbours", "apart"), strict=True)):
        drawn = by_id(figure, f"tokens-{number}-{kind}")
        edges = spans(drawn)
        assert panel.position is not None
        inside = [int(((panel.position / RATE >= a) & (panel.position / RATE < b)).sum()) for a, b in edges]
        np.testing.assert_allclose(heights(drawn) * np.diff(edges)[:, 0], inside, atol=1e-6)
        assert sum(inside) == panel.tokens_after
    dropped = by_id(figure, "tokens-0-dropped")
    assert (heights(dropped) * np.diff(spans(dropped))[:, 0]).sum() == pytest.approx(7500)
    assert "10:00" in words_of(figure)


def test_kinds_are_stacked_in_a_long_audio() -> None:
    panel = panel_of("ltbm", 4007, 0.6)
    kinds = find_runs(panel).kind
    assert panel.position is not None
    figure = plot_compression(silence(4007 / RATE), [panel])
    floor: Any = 0.0
    for number, kind in enumerate(("kept", "neighbours", "apart")):
        drawn = by_id(figure, f"tokens-0-{kind}")
        edges, place = spans(drawn), panel.position[kinds == number] / RATE
        inside = [int(((place >= a - 1e-9) & (place < b - 1e-9)).sum()) for a, b in edges]
        np.testing.assert_allclose(heights(drawn) * np.diff(edges)[:, 0], inside, atol=1e-6)
        assert sum(inside) == (kinds == number).sum() > 100
        bottoms = np.array([path.vertices[:, 1].min() for path in drawn.get_paths()])
        np.testing.assert_allclose(bottoms, floor, atol=1e-9)
        floor = bottoms + heights(drawn)
    assert edges[-1, 1] == pytest.approx(4007 / RATE)
    assert "merged away" in words_of(figure)


def test_panels_say_what_does_not_fit() -> None:
    for broken, message in (
        ({"slot": np.zeros(4)}, r"`slot` has the shape \(4,\), not \(5,\)"),
        ({"slot": np.full(5, 2)}, "slots go from -1 to 1"),
        ({"slot": np.zeros(5), "position": np.zeros(3)}, "`position`"),
        ({"attention": np.zeros(6)}, "`attention`"),
    ):
        with pytest.raises(ValueError, match=message):
            Panel("x", 5, 2, **broken)
    with pytest.raises(ValueError, match="at least one panel"):
        plot_compression(silence(1), [])
    with pytest.raises(ValueError, match="mel bins"):
        Spectrogram(np.zeros(7), 1.0)


def test_a_panel_takes_its_own_row_of_a_batch() -> None:
    slot = torch.tensor([[0, 1, 2, 3], [0, 0, 1, -1]])
    assignment = Assignment.mean(slot, torch.tensor([4, 2]), 4)
    panel = Panel.of_record("second", CompressionRecord([4, 3], [4, 2], assignment), row=1)
    assert panel.slot is not None
    assert panel.position is not None
    assert panel.slot.tolist() == [0, 0, 1]
    assert panel.position.tolist() == [0, 2]


# files and global state


def test_a_png_has_the_size_of_its_figure(tmp_path: Path) -> None:
    with matplotlib.rc_context({"savefig.bbox": "tight", "savefig.dpi": 31, "figure.facecolor": "red"}):
        figure = plot_compression(silence(1.2), [panel_of("ltbm", 30)], width=6, dpi=90)
        file = plotting.save(figure, tmp_path / "picture.png")
    content = file.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert (width, height) == (540, int(figure.get_size_inches()[1] * 90))
    assert to_hex(figure.get_facecolor()) == "#ffffff"


@pytest.mark.parametrize(("suffix", "begin"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")])
def test_formats_follow_the_suffix(tmp_path: Path, suffix: str, begin: bytes) -> None:
    file = plotting.save(plot_compression(silence(1.2), [panel_of("ltbm", 30)]), tmp_path / f"picture.{suffix}")
    assert file.read_bytes().startswith(begin)
    assert [f.name for f in tmp_path.iterdir()] == [file.name]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    figure = plot_compression(silence(1.2), [panel_of("ltbm", 30)])
    (tmp_path / "folder.png").mkdir()
    for name, error, message in (
        ("picture.gif", ValueError, r"picture.gif must end in .png, .pdf or .svg."),
        ("gone/picture.png", FileNotFoundError, "There is no folder"),
        ("folder.png", IsADirectoryError, "is a folder"),
    ):
        with pytest.raises(error, match=message):
            plotting.save(figure, tmp_path / name)
    assert [f.name for f in tmp_path.iterdir()] == ["folder.png"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plot_compression(silence(1.2), [panel_of("ltbm", 30)])
    file = tmp_path / "picture.png"
    file.write_text("old")

    def broken(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        plotting.save(figure, file)
    assert [f.name for f in tmp_path.iterdir()] == ["picture.png"]
    assert file.read_text() == "old"


def test_settings_of_other_pictures_stay(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    plotting.save(plot_compression(silence(1.2), [panel_of("global_merge", 30)]), tmp_path / "picture.png")
    assert dict(matplotlib.rcParams) == before


def test_the_library_needs_no_matplotlib_and_pictures_no_pyplot() -> None:
    program = (
        "import sys, numpy as np, hf_tokcomp\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from hf_tokcomp.plotting import Panel, plot_compression\n"
        "figure = plot_compression(np.zeros(16000), [Panel('none', 25, 25, np.arange(25))], frame_rate=25)\n"
        "figure.canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = warm.run(program, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("hf_tokcomp.plotting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(hf_tokcomp, "plotting")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'hf-tokcomp\[plot\]'"):
        __import__("hf_tokcomp.plotting")


# Simulations of full colour blindness of each kind, on linear RGB (Machado, Oliveira and Fernandes, 2009).
SIGHT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "common": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart(sight: str) -> None:
    colours = [*itertools.chain(*PALETTE.values()), to_hex(DROPPED)]
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 14, (one, other)


def lab(colour: str, sight: str) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen; a distance of 2 is just noticed."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_a_picture_of_the_beginning_says_so() -> None:
    """What the extractor cut off, the picture does not show; elsewhere it says nothing."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    windows, mask = np.random.default_rng(0).normal(size=(1, 16, 100)), np.ones((1, 100), dtype=int)
    for seconds, said in ((2.5, {"The first 1.0 s of 2.5 s: the model reads no more."}), (1.0, set()), (1.005, set())):
        shown = Spectrogram.of_features(extractor, windows, mask, seconds)
        words = words_of(plot_compression(shown, [Panel("stride", 25, 25)]))
        assert {word for word in words if "reads no more" in word} == said


def test_panels_say_what_was_asked_for() -> None:
    panels = [Panel("a", 37, 10, tokens_asked=19), Panel("b", 37, 10)]
    assert {"37 → 10 tokens (27 %), asked for 19", "37 → 10 tokens (27 %)"} <= words_of(
        plot_compression(silence(2), panels)
    )
