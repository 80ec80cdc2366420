"""The small Hub itself, driven by the real client: what it stores comes back, and its faults are faults."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from places import ROOT

REPO = "someone/something"


def test_files_come_back_by_branch_tag_and_commit(hub_here, tmp_path):
    api = HfApi()
    assert api.create_repo("something").repo_id == REPO
    api.create_repo(REPO, exist_ok=True)
    (tmp_path / "inner").mkdir()
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\none")
    (tmp_path / "inner" / "weights.bin").write_bytes(bytes(range(256)))
    first = api.upload_folder(repo_id=REPO, folder_path=tmp_path).oid
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="feature/x")
    api.upload_file(repo_id=REPO, path_in_repo="two.txt", path_or_fileobj=b"two", revision="feature/x")
    assert hub_here.files(REPO)["inner/weights.bin"] == bytes(range(256))
    assert sorted(api.list_repo_files(REPO)) == ["README.md", "inner/weights.bin"]
    assert sorted(api.list_repo_files(REPO, revision="feature/x")) == ["README.md", "inner/weights.bin", "two.txt"]
    for revision in (None, "main", "v1", first):
        folder = snapshot_download(REPO, revision=revision)
        assert folder.endswith(first)
        with open(f"{folder}/inner/weights.bin", "rb") as file:
            assert file.read() == bytes(range(256))
    assert hf_hub_download(REPO, "two.txt", revision="feature/x")
    assert api.model_info(REPO).sha == first
    second = hub_here.repositories[REPO].refs["feature/x"]
    expected = {f"{first}/README.md", f"{first}/inner/weights.bin", f"{second}/two.txt"}
    assert set(hub_here.cached()) == {f"models--someone--something/snapshots/{path}" for path in expected}


def test_what_is_not_there_has_its_own_error(hub_here):
    hub_here.put(REPO, {"a": "a"})
    hub_here.put("someone/secret", {"a": "a"}, private=True)
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(REPO, "b")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(REPO, "a", revision="b")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("someone/nothing", "a")
    with pytest.raises(HfHubHTTPError, match="401"):
        hf_hub_download("someone/secret", "a", token=False)
    assert hf_hub_download("someone/secret", "a")
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi().create_repo("someone/else", token="hf_unknown")
    assert "someone/else" not in hub_here.repositories


def test_a_bad_card_is_refused_before_anything_is_stored(hub_here):
    hub_here.put(REPO, {"a": "a"})
    card = b"---\nbase_model_relation: cousin\n---\n"
    with pytest.raises(ValueError, match="base_model_relation"):
        HfApi().upload_file(repo_id=REPO, path_in_repo="README.md", path_or_fileobj=card)
    assert set(hub_here.files(REPO)) == {"a"}


def test_faults(hub_here, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10)
    hub_here.put(REPO, {"a": "a" * 100})
    hub_here.cut(after=30)
    with open(hf_hub_download(REPO, "a")) as file:
        assert file.read() == "a" * 100
    assert [r.range for r in hub_here.requests if r.method == "GET"] == [None, "bytes=30-"]
    hub_here.put(REPO, {"b": "b"})
    hub_here.fail("/resolve/main/b", 503, times=None)
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download(REPO, "b")
    hub_here.faults.clear()
    assert hf_hub_download(REPO, "b")
    assert len([r for r in hub_here.requests if r.status == 503]) > 1


def test_a_process_of_its_own(hub):
    code = """
import sys, hf_tokcomp, huggingface_hub
from pathlib import Path
assert Path(hf_tokcomp.__file__).parent.parent == Path(sys.argv[1]), hf_tokcomp.__file__
print(huggingface_hub.HfApi().whoami()["name"])
"""
    assert hub.run(code, str(ROOT)).stdout.strip() == "someone"
    done = hub.run("import huggingface_hub as h; h.HfApi().whoami()", token="hf_unknown", check=False)
    assert done.returncode != 0
    assert [r.status for r in hub.requests] == [200, 401]
