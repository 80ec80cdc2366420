"""How the small Hub answers: one method per kind of request."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_store import Commit, Repository, blob_id, tree

RELATIONS = ("adapter", "finetune", "merge", "quantized")
Answer = tuple[int, dict[str, str], bytes]


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        self.status, self.body = status, {"error": message or code}
        self.headers = {"X-Error-Message": message or code} | ({"X-Error-Code": code} if code else {}) | headers


class Handler(BaseHTTPRequestHandler):
    """Serves one connection of `hub`, a `HubServer`."""

    hub: Any
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Quiet: `HubServer.requests` is the log."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_DELETE = do_GET

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        authorization = self.headers.get("Authorization")
        self.token = authorization.removeprefix("Bearer ") if authorization else None
        self.cut: Any = None
        fault = self.hub.fault(self.command, self.path)
        try:
            if fault is not None and fault.status:
                raise Refusal(fault.status, message="injected", **(fault.headers or {}))
            self.cut = fault
            if self.token is not None and self.token not in self.hub.users:
                raise Refusal(401, message="Invalid credentials in Authorization header")
            with self.hub.lock:
                status, headers, content = self._route()
        except Refusal as refusal:
            status, headers, content = refusal.status, refusal.headers, json.dumps(refusal.body).encode()
        self._send(status, headers, content)

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.hub.log(self.command, self.path, self.token, self.headers.get("Range"), status)
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: self.cut.cut_after])
        self.wfile.flush()
        if self.cut.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.close_connection = True

    def _route(self) -> Answer:
        match [self.command, *self.parts]:
            case ["GET", "api", "whoami-v2"]:
                return self._json({"type": "user", "name": self._user(), "orgs": [], "auth": {}})
            case ["POST", "api", "repos", "create"]:
                return self._create(json.loads(self.body))
            case ["POST", "api", "validate-yaml"]:
                return self._validate(json.loads(self.body)["content"])
            case [method, "api", "models", owner, name, *rest]:
                return self._model(method, f"{owner}/{name}", rest)
            case [method, "api", "datasets", owner, name, *rest]:  # in `HubServer.put`, too, "datasets/" comes first
                return self._model(method, f"datasets/{owner}/{name}", rest)
            case [("GET" | "HEAD"), "datasets", owner, name, "resolve", revision, *path]:
                return self._file(f"datasets/{owner}/{name}", revision, "/".join(path))
            case [("GET" | "HEAD"), owner, name, "resolve", revision, *path]:
                return self._file(f"{owner}/{name}", revision, "/".join(path))
        raise Refusal(404, message=f"{self.command} {self.path} is not served here")

    def _model(self, method: str, repo: str, rest: list[str]) -> Answer:
        match [method, *rest]:
            case ["GET"]:
                return self._info(repo, "main")
            case ["GET", "revision", revision]:
                return self._info(repo, revision)
            case ["GET", "tree", revision, *folder]:
                found = tree(self._commit(repo, revision), "/".join(folder), self.query.get("recursive") == "true")
                if found is None:
                    raise Refusal(404, "EntryNotFound")
                return self._json(found)
            case ["GET", "refs"]:
                stored = self._stored(repo)
                branches, tags = (
                    [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in refs.items()]
                    for kind, refs in (("heads", stored.refs), ("tags", stored.tags))
                )
                return self._json({"branches": branches, "tags": tags, "converts": []})
            case ["GET", "discussions"]:
                return self._json({"discussions": [], "count": 0, "start": 0})
            case ["POST", "paths-info", revision]:
                wanted = parse_qs(self.body.decode())["paths"]
                listed = tree(self._commit(repo, revision), "", True) or []
                return self._json([entry for entry in listed if entry["path"] in wanted])
        self._user()
        match [method, *rest]:
            case ["POST", "preupload", revision]:
                files = self._commit(repo, revision).files
                modes = [
                    {"path": path, "uploadMode": "regular", "shouldIgnore": False}
                    | ({"oid": blob_id(files[path])} if path in files else {})
                    for path in (entry["path"] for entry in json.loads(self.body)["files"])
                ]
                return self._json({"files": modes})
            case ["POST", "commit", revision]:
                return self._add(repo, revision)
            case ["POST", ("branch" | "tag") as kind, name]:
                values = json.loads(self.body or b"{}")
                stored = self._stored(repo)
                refs = stored.refs if kind == "branch" else stored.tags
                start = values.get("startingPoint", "main")
                if kind == "tag":  # the path holds the revision, the body the tag
                    start, name = name, values["tag"]
                if name in refs:
                    raise Refusal(409, message=f"{name} is there already")
                refs[name] = self._commit(repo, start).sha
                return self._json({})
        raise Refusal(404, message=f"{self.command} {self.path} is not served here")

    def _add(self, repo: str, revision: str) -> Answer:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        before = self._commit(repo, revision)
        if header.get("parentCommit") not in (None, before.sha):
            raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
        files: dict[str, bytes | None] = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                files[value["path"]] = None
            elif line["key"] == "deletedFolder":
                files.update({path: None for path in before.files if path.startswith(value["path"])})
        stored = self._stored(repo)
        answer: dict[str, Any] = {"success": True}
        if "create_pr" in self.query:
            number = 1 + sum(name.startswith("refs/pr/") for name in stored.refs)
            answer["pullRequestUrl"] = f"{self.hub.endpoint}/{repo}/discussions/{number}"
            made = stored.commit(files, header["summary"], f"refs/pr/{number}", before.sha)
        else:
            made = stored.commit(files, header["summary"], revision)
        return self._json(
            answer | {"commitOid": made.sha, "commitUrl": f"{self.hub.endpoint}/{repo}/commit/{made.sha}"}
        )

    def _create(self, values: dict[str, Any]) -> Answer:
        owner = values.get("organization") or self._user()
        self._user()
        if owner in self.hub.forbidden:
            raise Refusal(403, message=f"You don't have the rights to create a model under the namespace {owner!r}")
        if not re.fullmatch(r"[\w.-]{1,96}", values["name"], re.ASCII):
            raise Refusal(400, message=f"Invalid name {values['name']!r}")
        repo = f"{owner}/{values['name']}"
        address = {"url": f"{self.hub.endpoint}/{repo}", "name": repo, "id": repo}
        if repo in self.hub.repositories:
            return 409, {}, json.dumps(address | {"error": "You already created this model repo"}).encode()
        self.hub.repositories[repo] = Repository(repo, private=values.get("visibility") == "private")
        return self._json(address)

    def _validate(self, card: str) -> Answer:
        """What the Hub checks of a card: that its front matter is YAML, and a few values."""
        found = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
        errors, values = [], None
        try:
            values = yaml.safe_load(found[1]) if found else None
        except yaml.YAMLError as error:
            errors = [str(error)]
        if isinstance(values, dict) and values.get("base_model_relation", "adapter") not in RELATIONS:
            errors.append(f'"base_model_relation" must be one of {RELATIONS}')
        messages = {"errors": [{"message": error} for error in errors], "warnings": []}
        if not errors and not values:
            messages["warnings"] = [{"message": "empty or missing yaml metadata in repo card"}]
        return (400 if errors else 200), {}, json.dumps(messages).encode()

    def _file(self, repo: str, revision: str, path: str) -> Answer:
        commit = self._commit(repo, revision)
        if repo in self.hub.gated:
            raise Refusal(403, "GatedRepo", f"Access to model {repo} is restricted")
        if path not in commit.files:
            raise Refusal(404, "EntryNotFound", **{"X-Repo-Commit": commit.sha})
        content = commit.files[path]
        headers = {"ETag": f'"{blob_id(content)}"', "X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted is None:
            return 200, headers, content
        begin = int(wanted[1])
        if begin >= len(content):
            raise Refusal(416, **{"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return 206, headers, content[begin:]

    def _info(self, repo: str, revision: str) -> Answer:
        commit = self._commit(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        name = repo.removeprefix("datasets/")
        values = {"_id": name, "id": name, "modelId": name, "author": name.split("/")[0], "sha": commit.sha}
        more = {"private": self._stored(repo).private, "gated": False, "disabled": False, "tags": []}
        return self._json(values | more | {"siblings": siblings, "downloads": 0, "likes": 0})

    def _user(self) -> str:
        """Whose token came along.

        Raises:
            Refusal: none did.
        """
        if self.token is None:
            raise Refusal(401, message="Invalid username or password.")
        return self.hub.users[self.token]

    def _stored(self, repo: str) -> Repository:
        stored = self.hub.repositories.get(repo)
        if stored is None or (stored.private and self.token is None):
            # Like the Hub: who is unknown does not learn whether there is such a repository.
            raise Refusal(404 if self.token else 401, "RepoNotFound", "Repository not found")
        return stored

    def _commit(self, repo: str, revision: str) -> Commit:
        commit = self._stored(repo).at(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _json(self, value: Any) -> Answer:
        return 200, {}, json.dumps(value).encode()
