"""Sharing a compression on the Hub: what goes into the repository, its card, and one commit with all of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from ._version import __version__
from .cards import CARD_NAME, make_card, may_renew, read_card
from .cards.card import LIBRARIES
from .config_files import MODEL_CONFIG_NAME
from .hub import check_token
from .hub_errors import hub_errors
from .packing import ADAPTER_CONFIG, Package, pack
from .patching import Compression, _inner, active_config


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        repo_id: the repository, with its owner.
        commit: the commit; a string, its address.
        kept_card: whether the card is not ours: one that was there, or that of the folder.
    """

    repo_id: str
    commit: CommitInfo
    kept_card: bool


def push_package(
    package: Package,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    description: str | None = None,
    create_pr: bool = False,
    overwrite_card: bool = False,
) -> Pushed:
    """Create the repository if need be, and upload everything in one commit.

    Args:
        package: what to upload.
        token: None for ``HF_TOKEN`` or the stored login.
        private: whether a new repository is private.
        revision: the branch; it is made if there is none.
        message: the commit's.
        description: the commit's.
        create_pr: open a pull request instead.
        overwrite_card: replace a card that somebody wrote, too.

    Raises:
        ValueError: ``private`` for a repository that is public.
        OSError: the Hub refused (`PermissionError`) or could not be asked (`ConnectionError`); the message says what is
            there now.
    """
    check_token(token)
    api = HfApi(token=token, library_name="hf_tokcomp", library_version=__version__)
    repo_id = package.repo_id
    branch = None if revision == "main" else revision
    with _plain_errors(repo_id, token, "Nothing was created, and nothing uploaded."):
        if "/" not in repo_id:
            repo_id = f"{api.whoami()['name']}/{repo_id}"
        created = not api.repo_exists(repo_id)
        if private and not created and not api.model_info(repo_id).private:
            raise ValueError(
                f"{repo_id} is there already and is public; make it private in its settings on the Hub, or take "
                "another name."
            )
        api.create_repo(repo_id, private=private, exist_ok=True)
    after = f"Nothing was uploaded; {repo_id} {'was created and is empty' if created else 'is as it was'}."
    with _plain_errors(repo_id, token, after):
        card, kept = _card(package, api, repo_id, branch, overwrite_card)
        files = dict(package.files) if card is None else {**package.files, CARD_NAME: card.encode()}
        if branch is not None and not branch.startswith("refs/") and not create_pr:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
    with _plain_errors(repo_id, token, after, "It is one commit: all of it is there, or nothing."):
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=message or f"Upload {package.noun}",
            commit_description=description,
            revision=branch,
            create_pr=create_pr,
        )
    return Pushed(repo_id, commit, kept)


def _card(package: Package, api: HfApi, repo_id: str, branch: str | None, overwrite: bool) -> tuple[str | None, bool]:
    """The card to send (None to leave the one that is there), and whether it is somebody else's than ours."""
    if package.written and not overwrite:
        return package.card(repo_id), True
    there = _card_there(api, repo_id, branch)
    if there is not None and not overwrite and not may_renew(there, LIBRARIES[package.kind]):
        return None, True
    return package.card(repo_id, there, overwrite, branch), False


def new_card(config: Any, api: HfApi, repo_id: str, revision: str | None) -> str | None:
    """The card for a repository with a config alone; None where there is one that stays."""
    branch = None if revision == "main" else revision
    there = _card_there(api, repo_id, branch)
    if there is not None and not may_renew(there, LIBRARIES["config"]):
        return None
    if there is None and {MODEL_CONFIG_NAME, ADAPTER_CONFIG} & set(api.list_repo_files(repo_id, revision=branch)):
        return None  # a model or an adapter is there, of which a config's card knows nothing
    return make_card(config, repo_id, there, revision=branch)


def _card_there(api: HfApi, repo_id: str, branch: str | None) -> str | None:
    """The repository's card; for a branch that will be made, the one it will begin with. None if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        for at in dict.fromkeys((branch, None)):
            try:
                file = api.hf_hub_download(repo_id, CARD_NAME, revision=at, cache_dir=folder)
            except RevisionNotFoundError:
                continue
            except RemoteEntryNotFoundError:
                return None
            return read_card(Path(file))
    return None


@contextmanager
def _plain_errors(repo_id: str, token: str | bool | None, after: str, unsure: str = "") -> Iterator[None]:
    """`hub_errors`, with what is there now said in each, and no token, which a server might repeat.

    Args:
        repo_id: the repository.
        token: the token in use.
        after: what is there now.
        unsure: the same where a request may have been obeyed although its answer is an error, or none came.
    """
    try:
        with hub_errors(repo_id):
            yield
    except (OSError, ValueError) as error:
        kinds = (PermissionError, FileNotFoundError, ConnectionError, OSError, ValueError)
        kind: type[Exception] = next(kind for kind in kinds if isinstance(error, kind))
        message = f"{error} {(kind in (ConnectionError, OSError) and unsure) or after}"
        for secret in (token, get_token()):
            if isinstance(secret, str) and secret:
                message = message.replace(secret, "***")
        raise kind(message) from None


def push_to_hub(
    compressed: Any,
    repo_id: str,
    *,
    processor: Any = None,
    compression: Compression | None = None,
    base_model: str | None = None,
    base_revision: str | None = None,
    metrics: str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    license: str | None = None,
    tags: Sequence[str] | None = None,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool = False,
    overwrite_card: bool = False,
    local_base: bool = False,
    **save_options: Any,
) -> CommitInfo:
    """Share a compressed model, an adapter, a folder with one of these, or a config, with a card, in one commit.

    Args:
        compressed: a patched model (in PEFT: its adapter is shared), a folder, or a `CompressionConfig`.
        repo_id: ``USER/NAME``; created if need be.
        processor: shared along with a model.
        compression: of a folder that has none in it; for models and configs leave it out.
        base_model: Hub id of the model it comes from; None for what the model or folder says.
        base_revision: its revision.
        metrics: a file of numbers for the card; see `hf_tokcomp.cards.read_measurements`.
        dataset: what the numbers were measured on, where the file does not say.
        license: the Hub's name of a licence.
        tags: more tags for the card.
        token: None for ``HF_TOKEN`` or the stored login.
        private: whether a new repository is private.
        revision: the branch; it is made if there is none.
        commit_message: for the commit.
        commit_description: for the commit.
        create_pr: open a pull request instead.
        overwrite_card: replace a card that somebody wrote, too; without it that one stays as it is.
        local_base: a warning and no error where an adapter names its base model by a folder of this machine.
        save_options: for the model's ``save_pretrained``.

    Returns:
        The commit: a string, its address.

    Raises:
        OSError: the Hub refused (`PermissionError`) or could not be asked (`ConnectionError`). A push is one commit, so
            nothing is half there.
        ValueError, TypeError, FileNotFoundError: there is nothing to share, or it contradicts itself.
    """
    card: dict[str, Any] = {
        "metrics": metrics,
        "dataset": dataset,
        "license": license,
        "tags": tags or (),
        "local_base": local_base,
    }
    how: dict[str, Any] = {
        "token": token,
        "private": private,
        "revision": revision,
        "message": commit_message,
        "description": commit_description,
        "create_pr": create_pr,
        "overwrite_card": overwrite_card,
    }
    if not hasattr(compressed, "save_pretrained") or hasattr(compressed, "output_length"):
        folder, given = (None, compressed) if hasattr(compressed, "output_length") else (compressed, compression)
        package = pack(
            repo_id, compression=given, folder=folder, base_model=base_model, base_revision=base_revision, **card
        )
        return push_package(package, **how).commit
    config = active_config(compressed)
    if config is None:
        raise ValueError("This model is not compressed: patch it first, or share it with its own push_to_hub.")
    came_from = getattr(_inner(compressed), "config", None)
    name = getattr(came_from, "_name_or_path", None)
    with tempfile.TemporaryDirectory() as temporary:
        compressed.save_pretrained(temporary, **save_options)
        if processor is not None:
            processor.save_pretrained(temporary)
        package = pack(
            repo_id,
            compression=config,
            folder=temporary,
            base_model=base_model,
            base_revision=base_revision,
            came_from=None if name == repo_id else name,
            came_from_revision=getattr(came_from, "_commit_hash", None),
            **card,
        )
        return push_package(package, **how).commit
