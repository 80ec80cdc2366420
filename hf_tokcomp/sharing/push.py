"""`push_to_hub`: share a compressed model, an adapter, a folder or a config on the Hub, with a card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from huggingface_hub import CommitInfo

from ..config.config import CompressionConfig
from ..config.files import register_sender
from ..config.notation import Compression
from ..models.instance import active_config, unwrap


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
        compressed: a patched model (if wrapped by PEFT, its adapter is shared), a folder, or a `CompressionConfig`.
        repo_id: ``USER/NAME``; created if needed.
        processor: shared along with a model.
        compression: the compression of a folder that contains none; omit it for models and configs.
        base_model: Hub id of the model it is derived from; None for what the model or folder says.
        base_revision: the revision of the base model.
        metrics: a file with numbers for the card; see `hf_tokcomp.cards.read_measurements`.
        dataset: the data set the numbers were measured on, if the file does not say.
        license: the Hub's identifier of a licence.
        tags: additional tags for the card.
        token: None for ``HF_TOKEN`` or the stored login.
        private: whether a new repository is private.
        revision: the branch, which is created if it does not exist.
        commit_message: the commit message.
        commit_description: the commit description.
        create_pr: open a pull request instead.
        overwrite_card: also replace a hand-written card, which is kept otherwise.
        local_base: warn instead of raising if the base model of an adapter is a local folder.
        save_options: arguments for the model's ``save_pretrained``.

    Returns:
        The commit; as a string, its URL.

    Raises:
        OSError: the Hub refused (`PermissionError`) or could not be reached (`ConnectionError`). A push is a single
            commit, so it is never partial.
        ValueError, TypeError, FileNotFoundError: there is nothing to share, or the arguments are contradictory.

    Example:
        >>> model = hf_tokcomp.patch(model, "ltbm")
        >>> commit = hf_tokcomp.push_to_hub(model, "someone/compressed", processor=processor, license="cc-by-sa-4.0")
        >>> shared = type(model).from_pretrained("someone/compressed")
        >>> hf_tokcomp.active_config(shared).method
        'ltbm'
    """
    from .commit import push_package  # here, since few programs push and all import the package
    from .pack import pack

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
    came_from = getattr(unwrap(compressed), "config", None)
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


@register_sender
def push_config(config: CompressionConfig, repo_id: str, subfolder: str | None, /, **how: Any) -> CommitInfo:
    """`CompressionConfig.push_to_hub`: only the config, in one commit."""
    from .commit import push_package
    from .pack import pack_config

    return push_package(pack_config(config, repo_id, subfolder), **how).commit
