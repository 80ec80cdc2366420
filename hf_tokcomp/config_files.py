"""Reading and writing `compression_config.json`, in a folder or on the Hub."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import CompressionConfigError

if TYPE_CHECKING:
    from .config import CompressionConfig

CONFIG_NAME = "compression_config.json"
ConfigType = TypeVar("ConfigType", bound="PushToHubConfigMixin")


class PushToHubConfigMixin:
    """`save_pretrained`, `from_pretrained` and `push_to_hub` as transformers and PEFT have them."""

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> Path:
        """Write ``compression_config.json`` into a folder (made if need be) and return the file's path."""
        folder = Path(save_directory)
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; save_pretrained needs the path of a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        text: str = self.to_json_string()  # type: ignore[attr-defined]
        # Written beside and renamed: a reader never sees half a file.
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(text)
        try:
            os.chmod(file.name, 0o644)
            os.replace(file.name, folder / CONFIG_NAME)
        except OSError:
            os.unlink(file.name)
            raise
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
    ) -> CompressionConfig:
        """Read a config from a folder, a JSON file or a Hub repository.

        Raises:
            FileNotFoundError: there is no ``compression_config.json`` there.
            CompressionConfigError: the file is not a valid config.
        """
        from .config import CompressionConfig

        path = Path(name_or_path)
        if path.is_dir():
            file = path / (subfolder or "") / CONFIG_NAME
            if not file.is_file():
                raise FileNotFoundError(f"There is no {CONFIG_NAME} in {file.parent}.")
        elif path.is_file():
            file = path
        else:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import HFValidationError

            try:
                downloaded = hf_hub_download(
                    str(name_or_path),
                    CONFIG_NAME,
                    subfolder=subfolder,
                    revision=revision,
                    token=token,
                    cache_dir=None if cache_dir is None else Path(cache_dir),
                    local_files_only=local_files_only,
                    force_download=force_download,
                )
            except HFValidationError as error:
                raise FileNotFoundError(
                    f"{name_or_path} is neither a folder, a file nor the id of a Hub repository (user/repo)."
                ) from error
            file = Path(downloaded)
        try:
            values: Any = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CompressionConfigError(f"{file} is not valid JSON: {error}.") from error
        target = cls if issubclass(cls, CompressionConfig) else CompressionConfig
        return target.from_dict(values)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload compression config",
    ) -> str:
        """Create the repository if need be, upload ``compression_config.json`` and return the commit's address."""
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_file(
            path_or_fileobj=self.to_json_string().encode(),  # type: ignore[attr-defined]
            path_in_repo=CONFIG_NAME,
            repo_id=repo_id,
            revision=revision,
            commit_message=commit_message,
        )
        return str(commit)
