"""What a report says: a config and the versions in a few words, and the JSON of `hf-tokcomp compare` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config.notation import ratio_name
from ..messages import shortened
from ..reporting.console import print_table

if TYPE_CHECKING:
    from ..config.config import CompressionConfig


def print_scores(report: dict[str, Any]) -> None:
    """Word error rate, exact matches, and tokens kept beside those asked for: a row per method, a column per ratio."""
    cells = report["cells"]
    ratios = [1.0, *(ratio for ratio in report["ratios"] if ratio < 1)]
    for key, title in (
        ("wer", "Word error rate in %, by fraction of tokens kept"),
        ("exact_match", "Recordings read without an error, in %"),
        ("kept", "Audio tokens really kept / asked for, in %, mean over recordings"),
    ):
        rows: dict[tuple[str, ...], dict[float, str]] = {}
        for cell in cells:
            # How many tokens are kept has nothing to do with where the model believes them to be.
            head = (cell["method"],) if key == "kept" else (cell["method"], cell["positions"] or "-")
            asked = f"/{100 * cell['asked']:.1f}" if key == "kept" and cell["asked"] is not None else ""
            rows.setdefault(head, {})[cell["retention_ratio"]] = f"{100 * cell[key]:.1f}{asked}"
        lines = [(*head, *(row.get(ratio, "") for ratio in ratios)) for head, row in rows.items()]
        names = [ratio_name(ratio) for ratio in ratios]
        print_table(("method", *(("positions",) if key != "kept" else ()), *names), lines, title=title, right=names)
        print()


def print_texts(report: dict[str, Any]) -> None:
    """Text beside text, recording by recording."""
    for index, recording in enumerate(report["recordings"]):
        rows = []
        if recording["truth"] is not None:
            rows.append(("truth", "", "", "", "", recording["truth"]))
        for cell in report["cells"]:
            several = len(cell["texts"]) > 1
            ratio, positions = ratio_name(cell["retention_ratio"]), cell["positions"] or "-"
            counts = (cell["compression"], cell["tokens_after"], cell["tokens_asked"], cell["texts"])
            for config, tokens, asked, texts in zip(*counts, strict=True):
                name = f"{cell['method']}, seed {config['seed']}" if several else cell["method"]
                wanted = "-" if asked[index] is None else str(asked[index])
                rows.append((name, ratio, positions, str(tokens[index]), wanted, texts[index]))
        dropped = f", the last {recording['seconds_dropped']:.1f} s not read" if recording["seconds_dropped"] else ""
        length = f"{recording['seconds']:.1f} s{dropped}"
        title = f"{shortened(recording['audio'])}  ({length})  {recording['prompt']}"
        columns = ("method", "ratio", "positions", "tokens", "asked", "text")
        print_table(columns, rows, title=title, right=("ratio", "tokens", "asked"))
        print()


def print_notes(report: dict[str, Any]) -> None:
    """What a reader of the tables must know."""
    print(f"Model {report['model']}, {report['device']}, {report['dtype']}.")
    known = sum(recording["truth"] is not None for recording in report["recordings"])
    if known:
        print(f"Errors are those in {known} recordings; texts and truths are compared {report['normalisation']}.")
    print("At 1 every method equals `none`, so that alone is read (and what reduces the encoder's work).")
    seeds = report["seeds"]
    if seeds > 1 and any(len(cell["compression"]) > 1 for cell in report["cells"]):
        print(f"`random` is the mean over {seeds} seeds.")
    for method, reason in report["left_out"].items():
        print(f"Left out: {method}: {reason}.".replace("..", "."))


def settings(config: CompressionConfig | None) -> dict[str, Any]:
    """A config as a user would write it, without the versions; the method `none` for no config."""
    if config is None:
        return {"method": "none"}
    return {name: value for name, value in config.to_dict().items() if "version" not in name}


def describe(config: CompressionConfig | None) -> str:
    """A config on one line: ``ltbm, retention_ratio 0.25, window 8, positions original``."""
    values = settings(config)
    method = values.pop("method")
    if method == "none":
        values.pop("positions", None)  # all the same where nothing is left out
    return ", ".join([method, *(f"{name} {value}" for name, value in values.items())])
