"""Reading and writing `compression_config.json`, in a folder or on the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeGuard

from huggingface_hub import CommitInfo

from ..hub.errors import MissingFileError
from ..hub.ids import MODEL_CONFIG_NAME, download, split_revision
from ..hub.json_text import MAX_BYTES, parse_json, too_large
from ..hub.whole_files import write_whole

CONFIG_NAME = "compression_config.json"
CONFIG_KEY = "compression_config"


def is_ours(values: Any) -> TypeGuard[dict[str, Any]]:
    """Whether this is a config of ours; other programs have used the same key."""
    return isinstance(values, dict) and "method" in values and "schema_version" in values


class PushToHubConfigMixin:
    """`save_pretrained`, `from_pretrained` and `push_to_hub`, as in transformers and PEFT."""

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, push_to_hub: bool = False, **options: Any
    ) -> Path:
        """Write ``compression_config.json`` into a folder (created if needed) and return the file's path.

        Args:
            save_directory: the folder.
            push_to_hub: also push it to the Hub, to a repository named like the folder or by ``repo_id=``.
            options: for `push_to_hub`.

        Example:
            >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
            >>> config.save_pretrained("my-compression").name
            'compression_config.json'
        """
        if options and not push_to_hub:
            raise TypeError(f"{', '.join(options)}: these options require push_to_hub=True.")
        folder = Path(save_directory)
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; save_pretrained needs the path of a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        text: str = self.to_json_string()  # type: ignore[attr-defined]
        write_whole(folder / CONFIG_NAME, text)
        if push_to_hub:
            self.push_to_hub(options.pop("repo_id", None) or folder.resolve().name, **options)
        return folder / CONFIG_NAME

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        subfolder: str | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """Read a config from a folder, a JSON file or a Hub repository.

        If there is no ``compression_config.json``, the config that a compressed model stores in its
        ``config.json`` is read.

        Args:
            name_or_path: the folder, the file, or ``user/repo``, optionally with a revision as ``user/repo@v2``.
            revision: branch, tag or commit of a Hub repository.
            token: for a private repository; None for the token of ``hf auth login`` or ``HF_TOKEN``.
            cache_dir: where downloads are kept.
            subfolder: folder inside the folder or repository.
            local_files_only: do not contact the Hub; the file must be cached.
            force_download: download it again.

        Raises:
            FileNotFoundError: there is no such repository, revision or folder, or no config there.
            PermissionError: the token gives no access to the repository.
            ConnectionError: the Hub could not be reached.
            CompressionConfigError: the file is not a valid config.

        Example:
            >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
            >>> file = config.save_pretrained("my-compression")
            >>> hf_tokcomp.CompressionConfig.from_pretrained("my-compression") == config
            True
        """
        made: Callable[[Any], Self] = cls.from_dict  # type: ignore[attr-defined]
        path = Path(name_or_path)
        if os.path.isfile(path):
            return made(parse_json(_read(path), str(path)))
        name = os.fspath(name_or_path)
        repo, named = split_revision(name)
        if named and revision and named != revision:
            raise ValueError(f"{name} names one revision and revision={revision!r} another; pass only one.")

        def find(filename: str) -> tuple[bytes, str]:
            if os.path.isdir(path):
                file = path / (subfolder or "") / filename
                if not file.is_file():
                    raise MissingFileError(f"There is no {filename} in {file.parent}.")
                return _read(file), str(file)
            file = download(
                repo,
                filename,
                revision=revision or named,
                token=token,
                cache_dir=cache_dir,
                subfolder=subfolder,
                local_files_only=local_files_only,
                force_download=force_download,
            )
            return _read(file), f"{filename} of {name} ({file})"

        try:
            return made(parse_json(*find(CONFIG_NAME)))
        except MissingFileError as error:
            try:
                values = parse_json(*find(MODEL_CONFIG_NAME), strict=False)
            except MissingFileError:
                raise error from error.__cause__
            stored = values.get(CONFIG_KEY) if isinstance(values, dict) else None
            if not is_ours(stored):
                raise error from error.__cause__
            return made(stored)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        subfolder: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Create the repository and the branch if needed, and upload ``compression_config.json``.

        A repository without a card gets one in the same commit, and a generated card that nobody has edited is
        renewed. Nothing else is touched. `hf_tokcomp.push_to_hub` can put more on the card.

        Args:
            repo_id: ``user/repo``; without ``user/``, the token's owner is used.
            token: a token with write access; None for the token of ``hf auth login`` or ``HF_TOKEN``.
            private: whether a new repository is private; None for its owner's default.
            revision: the branch.
            subfolder: folder inside the repository.
            commit_message: the commit's first line.
            commit_description: the rest of it.
            create_pr: open a pull request instead of committing.

        Returns:
            The commit; as a string, its URL.

        Raises:
            PermissionError: the token has no write access, or there is none.
            ConnectionError: the Hub could not be reached.
            ValueError: ``repo_id`` is invalid, or ``private`` was given for a public repository.

        Example:
            >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
            >>> commit = config.push_to_hub("someone/qwen2-audio-quarter")
            >>> hf_tokcomp.CompressionConfig.from_pretrained("someone/qwen2-audio-quarter") == config
            True
        """
        return _senders[0](
            self,
            repo_id,
            subfolder,
            token=token,
            private=private,
            revision=revision,
            message=commit_message,
            description=commit_description,
            create_pr=create_pr,
        )


class Sender(Protocol):
    """Pushes a config to the Hub, with a card."""

    def __call__(self, config: Any, repo_id: str, subfolder: str | None, /, **how: Any) -> CommitInfo: ...


_senders: list[Sender] = []


def register_sender(send: Sender) -> Sender:
    """Make this function implement `push_to_hub` of configs; `hf_tokcomp.sharing` decides what is pushed."""
    _senders[:] = [send]
    return send


def _read(file: Path) -> bytes:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise too_large(str(file), size)
    return file.read_bytes()
