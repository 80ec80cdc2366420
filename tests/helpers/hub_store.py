"""What a Hub keeps: repositories with branches, tags and commits, in memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    sha: str
    files: dict[str, bytes]
    message: str = ""
    parent: str | None = None


@dataclass
class Repository:
    """Commits by their id, and the branches, tags and pull requests that point to them."""

    name: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    _number: Any = field(default_factory=itertools.count, repr=False)

    def __post_init__(self) -> None:
        self.commit({}, "initial commit")

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a commit's id names."""
        sha = self.refs.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)

    def commit(
        self, files: Mapping[str, bytes | None], message: str = "", revision: str = "main", on: str | None = None
    ) -> Commit:
        """Add files (None deletes one) to a branch; `on` is where a new branch begins."""
        parent = self.at(on or revision)
        merged = dict(parent.files) if parent else {}
        for path, content in files.items():
            if content is None:
                merged.pop(path, None)
            else:
                merged[path] = content
        sha = hashlib.sha1(f"{self.name}{next(self._number)}{message}".encode()).hexdigest()
        made = Commit(sha, merged, message, parent.sha if parent else None)
        self.commits[sha] = made
        self.refs[revision] = sha
        return made


def blob_id(content: bytes) -> str:
    """git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def tree(commit: Commit, folder: str, recursive: bool) -> list[dict[str, Any]] | None:
    """The files and folders of a commit below a folder, as the Hub lists them; None where there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    inside = {path[len(prefix) :]: path for path in sorted(commit.files) if path.startswith(prefix)}
    if folder and not inside:
        return None
    entries: dict[str, dict[str, Any]] = {}
    for below, path in inside.items():
        parts = below.split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            name = prefix + "/".join(parts[:depth])
            entries[name] = {"type": "directory", "oid": blob_id(name.encode()), "size": 0, "path": name}
        if recursive or len(parts) == 1:
            content = commit.files[path]
            entries[path] = {"type": "file", "oid": blob_id(content), "size": len(content), "path": path}
    return list(entries.values())
