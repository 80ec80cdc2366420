"""What a report says: a config and the versions in a few words, and the JSON of `hf-tokcomp compare` as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..checkpoints import recordings
from ..config.notation import ratio_name
from ..messages import quoted, shortened
from ..reporting.console import print_table

if TYPE_CHECKING:
    from ..config.config import CompressionConfig


def asked_with(prompts: Iterable[str]) -> str:
    """What was asked, in a line: the prompt, or that there are several."""
    found = list(dict.fromkeys(prompts))
    return f"asked {quoted(found[0])}" if len(found) == 1 else f"asked {len(found)} prompts of their own"


def data_of(report: dict[str, Any]) -> str:
    """What was read: how many recordings of which data, and what was asked."""
    listed = report["recordings"]
    if report["manifest"] is not None:
        name = f" of {shortened(report['manifest'])}"
    else:
        shipped = {str(path) for path, _ in recordings()}
        name = " that ship with hf_tokcomp" if {each["audio"] for each in listed} <= shipped else ""
    return f"{len(listed)} recordings{name}, {asked_with(each['prompt'] for each in listed)}"


def failing(report: dict[str, Any]) -> str | None:
    """What is to be said where the model with all tokens cannot read the recordings; None where it can."""
    from ..evaluation.failing import WORST_WER, failed_words

    wrong = 100 * report["cells"][0].get("wer", 0.0)
    return failed_words("These recordings", wrong) if wrong > WORST_WER else None


def print_scores(report: dict[str, Any]) -> None:
    """Word error rate, exact matches, and tokens kept beside those asked for: a row per method, a column per ratio."""
    cells, data = report["cells"], data_of(report)
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
        columns = ("method", *(("positions",) if key != "kept" else ()), *names)
        print_table(columns, lines, title=f"{title}: {data}", right=names)
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
    loud = failing(report)
    if loud is not None:
        print(f"BEWARE. {loud}")
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
