"""`hf-tokcomp push` and `hf-tokcomp card`: share a compression on the Hub, and write its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..reporting.console import print_table
from .groups import OUTPUT, RUNNING, SHARE
from .options import CompressionOption, PositionsOption, RatioOption, one_compression

if TYPE_CHECKING:
    from ..sharing.package import Package

RepoArgument = Annotated[
    str, typer.Argument(metavar="USER/NAME", rich_help_panel=SHARE, help="The repository on the Hub.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        rich_help_panel=SHARE,
        metavar="FOLDER",
        help="A saved model, adapter or config to share. Default: the config alone.",
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base-model", rich_help_panel=SHARE, metavar="HUB_ID", help="The model it is meant for or derived from."
    ),
]
BaseRevisionOption = Annotated[
    str | None,
    typer.Option("--base-revision", rich_help_panel=SHARE, metavar="REVISION", help="The base model's revision."),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        "--metrics",
        rich_help_panel=SHARE,
        metavar="FILE.json",
        help="Measurements for the card: the output of `hf-tokcomp compare --output` or `eval`, or "
        '{"dataset": "Clotho v2", "metrics": {"cider": 0.49}, "uncompressed": {"cider": 0.50}}.',
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        rich_help_panel=SHARE,
        metavar="NAME",
        help="The data set of the measurements, if the file does not say.",
    ),
]
LicenseOption = Annotated[
    str | None,
    typer.Option(
        "--license", rich_help_panel=SHARE, metavar="NAME", help="The licence, by the Hub's identifier: apache-2.0, ..."
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite-card",
        rich_help_panel=RUNNING,
        help="Also replace a README.md that was written by hand. Default: keep it.",
    ),
]


def push(
    repo_id: RepoArgument,
    compression: CompressionOption = None,
    retention_ratio: RatioOption = None,
    positions: PositionsOption = None,
    folder: FolderOption = None,
    base_model: BaseOption = None,
    base_revision: BaseRevisionOption = None,
    metrics: MetricsOption = None,
    dataset: DatasetOption = None,
    license: LicenseOption = None,
    private: Annotated[
        bool, typer.Option("--private", rich_help_panel=RUNNING, help="Make the repository private if it is new.")
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision", rich_help_panel=RUNNING, metavar="BRANCH", help="The branch to push to. Default: main."
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", rich_help_panel=RUNNING, metavar="TEXT", help="The commit's message.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            rich_help_panel=RUNNING,
            metavar="FILE",
            help="A file that contains a token. Default: HF_TOKEN, or the login of `hf auth login`.",
        ),
    ] = None,
    overwrite_card: OverwriteOption = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=RUNNING, help="Print what would be sent, and the card, and send nothing."
        ),
    ] = False,
) -> None:
    """Share a compression, a compressed model or an adapter on the Hub, with a model card, in one commit."""
    from ..sharing.commit import push_package

    config = one_compression(compression, retention_ratio, positions).changed()
    package = _pack(repo_id, config, folder, base_model, base_revision, metrics, dataset, license)
    token = _token(token_file)
    if dry_run:
        _print_files(package, overwrite_card, revision)
        print(f"\n{package.card(overwrite=overwrite_card, revision=revision)}")
        print("Dry run: nothing was sent. A card on the Hub that was written by hand would be kept.")
        return
    pushed = push_package(
        package,
        token=token,
        private=private or None,
        revision=revision,
        message=message,
        overwrite_card=overwrite_card,
    )
    _print_files(package, overwrite_card, revision)
    print(f"\nPushed to {pushed.repo_id}: {pushed.commit}")


def card(
    repo_id: RepoArgument,
    compression: CompressionOption = None,
    retention_ratio: RatioOption = None,
    positions: PositionsOption = None,
    folder: FolderOption = None,
    base_model: BaseOption = None,
    base_revision: BaseRevisionOption = None,
    metrics: MetricsOption = None,
    dataset: DatasetOption = None,
    license: LicenseOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", rich_help_panel=OUTPUT, metavar="FILE", help="Write it to a file. Default: print it."
        ),
    ] = None,
    overwrite_card: OverwriteOption = False,
) -> None:
    """Print the model card that `push` would send, or write it to a file."""
    from ..cards import is_written, read_card
    from ..hub.whole_files import write_whole

    config = one_compression(compression, retention_ratio, positions).changed()
    package = _pack(repo_id, config, folder, base_model, base_revision, metrics, dataset, license)
    text = package.card(overwrite=overwrite_card)
    if output is None:
        print(text, end="")
        return
    if output.is_file() and not overwrite_card and is_written(read_card(output)):
        raise FileExistsError(f"{output} is a card that somebody wrote; --overwrite-card replaces it.")
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
    write_whole(output, text)
    print(f"Wrote {output}.")


def _pack(
    repo_id: str,
    config: Any,
    folder: Path | None,
    base_model: str | None,
    base_revision: str | None,
    metrics: Path | None,
    dataset: str | None,
    license: str | None,
) -> Package:
    from ..reporting.console import quiet_transformers
    from ..sharing.pack import pack

    quiet_transformers()
    return pack(
        repo_id,
        compression=config,
        folder=folder,
        base_model=base_model,
        base_revision=base_revision,
        metrics=metrics,
        dataset=dataset,
        license=license,
    )


def _token(file: Path | None) -> str | None:
    """Read the token in a file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the contents cannot be a token.
    """
    from ..hub.ids import check_token

    if file is None:
        return None
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file} with a token.")
    try:
        token = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        token = ""
    try:
        check_token(token)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return token


def _print_files(package: Package, overwrite_card: bool, revision: str | None) -> None:
    """Print the files with their sizes, and those that are not uploaded."""
    from .report import describe

    print(f"{package.repo_id}: a {package.noun}, {describe(package.config)}\n")
    sizes = {"README.md": len(package.card(overwrite=overwrite_card, revision=revision).encode()), **package.sizes()}
    total = sum(sizes.values())
    rows = [(name, size_name(size)) for name, size in (*sizes.items(), ("all together", total))]
    print_table(("file", "size"), rows, right=("size",))
    if package.left_out:
        print(f"\nStays here: {', '.join(package.left_out)}")


def size_name(size: float) -> str:
    """A number of bytes in human-readable form."""
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
