"""Pushing a package in one commit: creating the repository and branch if needed, the files, and the card."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from .._version import __version__
from ..cards import may_renew, read_card
from ..cards.card import LIBRARIES
from ..hub.errors import hub_errors, masked
from ..hub.ids import ADAPTER_CONFIG_NAME, CARD_NAME, MODEL_CONFIG_NAME, check_token
from .package import Package

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Args:
        repo_id: the repository, with its owner.
        commit: the commit; as a string, its URL.
    """

    repo_id: str
    commit: CommitInfo


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
    """Create the repository if needed, and upload everything in one commit.

    Args:
        package: what to upload.
        token: None for ``HF_TOKEN`` or the stored login.
        private: whether a new repository is private.
        revision: the branch, which is created if it does not exist.
        message: the commit message.
        description: the commit description.
        create_pr: open a pull request instead.
        overwrite_card: also replace a hand-written card.

    Raises:
        ValueError: ``private`` was requested for a public repository.
        OSError: the Hub refused (`PermissionError`) or could not be reached (`ConnectionError`); the message says what
            exists now.
    """
    check_token(token)
    if package.has_card:
        package.card(overwrite=overwrite_card)  # errors in the folder's card should appear before anything is created
    api = HfApi(token=token, library_name="hf_tokcomp", library_version=__version__)
    repo_id = package.repo_id
    branch = None if revision == "main" else revision
    nothing = "Nothing was created, and nothing uploaded."
    with _plain_errors(repo_id, token, nothing):
        if "/" not in repo_id:
            repo_id = f"{api.whoami()['name']}/{repo_id}"
        created = not api.repo_exists(repo_id)
        if private and not created and not api.model_info(repo_id).private:
            raise ValueError(
                f"{repo_id} already exists and is public; make it private in its settings on the Hub, or choose "
                "another name."
            )
    unsure = f"Nothing was uploaded; {repo_id} may have been created." if created else ""
    with _plain_errors(repo_id, token, nothing, unsure):
        api.create_repo(repo_id, private=private, exist_ok=True)
    after = f"Nothing was uploaded; {repo_id} {'was created and is empty' if created else 'is as it was'}."
    with _plain_errors(repo_id, token, after):
        card = _card(package, api, repo_id, branch, overwrite_card)
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
    return Pushed(repo_id, commit)


def _card(package: Package, api: HfApi, repo_id: str, branch: str | None, overwrite: bool) -> str | None:
    """The card to upload; None to keep the existing one, with a warning if it is hand-written."""
    if not package.has_card:
        return None
    there = _card_there(api, repo_id, branch)
    somebodys = there is not None and not may_renew(there, LIBRARIES[package.kind])
    if package.written and not overwrite:
        card = package.card(repo_id)
        where = f" and replaces the one in {repo_id}, which stays in its history" if somebodys and card != there else ""
        logger.warning(
            "The folder's README.md is pushed unchanged%s; overwrite_card (--overwrite-card) replaces it.",
            where,
        )
        return card
    if somebodys and not overwrite:
        logger.warning("The README.md of %s was not changed; overwrite_card (--overwrite-card) replaces it.", repo_id)
        return None
    if there is None and package.kind == "config" and _holds_weights(api, repo_id, branch):
        return None  # not covered by the card of a config
    return package.card(repo_id, there, overwrite, branch)


def _card_there(api: HfApi, repo_id: str, branch: str | None) -> str | None:
    """The repository's card, or None; for a branch to be created, the card it will start with."""
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


def _holds_weights(api: HfApi, repo_id: str, branch: str | None) -> bool:
    """Whether the repository, or the starting point of a new branch, contains a model or an adapter."""
    for at in dict.fromkeys((branch, None)):
        try:
            files = api.list_repo_files(repo_id, revision=at)
        except RevisionNotFoundError:
            continue
        return not {MODEL_CONFIG_NAME, ADAPTER_CONFIG_NAME}.isdisjoint(files)
    return False


@contextmanager
def _plain_errors(repo_id: str, token: str | bool | None, after: str, unsure: str = "") -> Iterator[None]:
    """`hub_errors`, with the current state of the repository added to each message.

    Args:
        repo_id: the repository.
        token: the token in use.
        after: the current state.
        unsure: the state if a request may have succeeded despite an error or a missing response.
    """
    try:
        with hub_errors(repo_id, token=token):
            yield
    except (OSError, ValueError) as error:
        kinds = (PermissionError, FileNotFoundError, ConnectionError, OSError, ValueError)
        kind: type[Exception] = next(kind for kind in kinds if isinstance(error, kind))
        message = f"{error} {(kind in (ConnectionError, OSError) and unsure) or after}"
        raise kind(masked(message, token)) from None
