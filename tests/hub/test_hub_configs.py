"""Configs on a Hub: the real client over HTTP against a small server on loopback."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import hub_handler
import pytest
from hub_client import Hub
from hub_server import TOKEN
from huggingface_hub import HfApi

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig, StrideConfig
from hf_tokcomp.hub.ids import check_token, is_hub_id, split_revision
from hf_tokcomp.hub.json_text import MAX_BYTES
from hf_tokcomp.loading.precedence import Checkpoint
from hf_tokcomp.loading.stored_files import fetch

NAME = "compression_config.json"
REPO = "someone/quarter"
CONFIG = LTBMConfig(window=3, retention_ratio=0.25)
OTHER = StrideConfig(max_tokens=7)


def pull(repo: str = REPO, **options: Any) -> CompressionConfig:
    return CompressionConfig.from_pretrained(repo, **options)


def asked(hub: Hub, method: str = "GET") -> list[str]:
    return [request.path for request in hub.requests if request.method == method]


class TestPush:
    def test_what_is_pushed_comes_back(self, hub_here):
        commit = CONFIG.push_to_hub("quarter")
        assert commit == f"{hub_here.endpoint}/{REPO}/commit/{hub_here.repositories[REPO].refs['main']}"
        assert hub_here.files(REPO)[NAME] == CONFIG.to_json_string().encode()
        assert set(hub_here.files(REPO)) == {NAME, "README.md"}
        assert pull() == LTBMConfig.from_pretrained(REPO) == CONFIG
        with pytest.raises(CompressionConfigError, match="'ltbm' is not the method of StrideConfig"):
            StrideConfig.from_pretrained(REPO)

    def test_other_files_stay(self, hub_here):
        hub_here.put(REPO, {"README.md": "ours", "adapter_config.json": "{}"})
        CONFIG.push_to_hub(REPO)
        OTHER.push_to_hub(REPO, commit_message="Better", commit_description="by far")
        assert hub_here.files(REPO)["README.md"] == b"ours"
        assert set(hub_here.files(REPO)) == {"README.md", "adapter_config.json", NAME}
        assert hub_here.repositories[REPO].at("main").message == "Better"
        assert pull() == OTHER

    def test_branches_folders_and_pull_requests(self, hub_here):
        CONFIG.push_to_hub(REPO)
        OTHER.push_to_hub(REPO, revision="feature/x")
        OTHER.push_to_hub(REPO, revision="feature/x", subfolder="inner", commit_message="again")
        commit = OTHER.push_to_hub(REPO, create_pr=True)
        assert (pull(), pull(revision="feature/x"), pull(revision=commit.pr_revision)) == (CONFIG, OTHER, OTHER)
        assert pull(revision="feature/x", subfolder="inner") == OTHER
        assert set(hub_here.files(REPO)) == {NAME, "README.md"}

    def test_private_is_not_forgotten_for_a_public_one(self, hub_here):
        CONFIG.push_to_hub(REPO)
        with pytest.raises(ValueError, match="already exists and is public"):
            OTHER.push_to_hub(REPO, private=True)
        assert pull() == CONFIG

    def test_a_private_repository_stays_so(self, hub_here):
        CONFIG.push_to_hub(REPO, private=True)
        assert pull() == CONFIG
        with pytest.raises(FileNotFoundError, match=r"private and you have no access.*hf auth login"):
            pull(token=False, cache_dir=hub_here.folder / "another")

    def test_saving_and_pushing_at_once(self, hub_here, tmp_path):
        CONFIG.save_pretrained(tmp_path / "quarter", push_to_hub=True)
        CONFIG.save_pretrained(tmp_path / "quarter", push_to_hub=True, repo_id="org/other", private=True)
        assert hub_here.files(REPO)[NAME] == hub_here.files("org/other")[NAME] == CONFIG.to_json_string().encode()
        assert hub_here.repositories["org/other"].private
        with pytest.raises(TypeError, match="repo_id: these options require push_to_hub=True"):
            CONFIG.save_pretrained(tmp_path / "none", repo_id=REPO)
        assert not (tmp_path / "none").exists()

    def test_without_the_right_to_write(self, hub):
        hub.forbidden.add("org")
        with (
            hub.here(token=None),
            pytest.raises(PermissionError, match=r"rejected the token \(or none was given\).*hf auth login"),
        ):
            CONFIG.push_to_hub(REPO)
        with hub.here(), pytest.raises(OSError, match="org/quarter"):
            CONFIG.push_to_hub("org/quarter")
        with hub.here(offline=True), pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
            CONFIG.push_to_hub(REPO)
        assert not hub.repositories

    def test_a_commit_that_fails_leaves_what_was_there(self, hub_here):
        CONFIG.push_to_hub(REPO)
        hub_here.fail("/commit/", 500, times=None)
        with pytest.raises(OSError, match=f"answered the request for {REPO}: 500, injected"):
            OTHER.push_to_hub(REPO)
        assert pull() == CONFIG
        hub_here.faults.clear()
        OTHER.push_to_hub(REPO)
        assert pull() == OTHER

    def test_an_answer_that_breaks_off_does_not_say_that_nothing_came(self, hub_here):
        hub_here.cut("/commit/", method="POST")
        with pytest.raises(ConnectionError, match=r"broke during someone/quarter: .* It is one commit"):
            CONFIG.push_to_hub(REPO)
        assert pull() == CONFIG

    def test_what_is_no_config_is_not_pushed(self, hub_here):
        broken = LTBMConfig()
        object.__setattr__(broken, "retention_ratio", float("nan"))
        with pytest.raises(ValueError, match="JSON"):
            broken.push_to_hub(REPO)
        assert not hub_here.requests


class TestPull:
    def test_revisions(self, hub_here):
        first = hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        HfApi().create_tag(REPO, tag="v1")
        hub_here.put(REPO, {NAME: OTHER.to_json_string()})
        for revision in (first, "v1"):
            assert pull(revision=revision) == pull(f"{REPO}@{revision}") == CONFIG
        assert pull() == pull(f"{REPO}@main") == pull(f"{REPO}@main", revision="main") == OTHER
        with pytest.raises(ValueError, match=r"quarter@v1 names one revision and revision='main' another"):
            pull(f"{REPO}@v1", revision="main")
        with pytest.raises(FileNotFoundError, match="someone/quarter has no revision 'v2'"):
            pull(f"{REPO}@v2")

    def test_a_folder_comes_before_a_repository(self, hub_here, tmp_path, monkeypatch):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        monkeypatch.chdir(tmp_path)
        OTHER.save_pretrained(REPO)
        OTHER.save_pretrained(f"{REPO}@v1")
        assert pull() == pull(f"{REPO}@v1") == OTHER
        assert not hub_here.requests

    def test_offline_it_comes_from_the_cache(self, hub):
        hub.put(REPO, {NAME: CONFIG.to_json_string()}, revision="v1")
        hub.put(REPO, {NAME: OTHER.to_json_string()})
        with hub.here():
            assert (pull(), pull(revision="v1")) == (OTHER, CONFIG)
        hub.put(REPO, {NAME: LTBMConfig(window=9).to_json_string()})
        hub.requests.clear()
        with hub.here():
            assert pull(local_files_only=True) == OTHER
        with hub.here(offline=True):
            assert (pull(), pull(f"{REPO}@v1")) == (OTHER, CONFIG)
            with pytest.raises(FileNotFoundError, match=r"someone/absent is not in the cache.*HF_HUB_OFFLINE is set"):
                pull("someone/absent")
        with hub.here(), pytest.raises(FileNotFoundError, match=r"not in the cache.*local_files_only=True.*online"):
            pull(local_files_only=True, cache_dir=hub.folder / "another")
        assert not hub.requests
        with hub.here():
            assert pull() == LTBMConfig(window=9)

    def test_offline_in_a_new_process(self, hub):
        hub.put(REPO, {NAME: CONFIG.to_json_string()}, private=True)
        with hub.here():
            pull()
        hub.requests.clear()
        code = f"import hf_tokcomp; print(hf_tokcomp.CompressionConfig.from_pretrained('{REPO}').window)"
        assert hub.run(code, offline=True).stdout == "3\n"
        assert not hub.requests

    def test_the_cache_and_the_token_given_are_used(self, hub):
        hub.put(REPO, {NAME: CONFIG.to_json_string()}, private=True)
        with hub.here(token=None):
            with pytest.raises(FileNotFoundError, match="no repository someone/quarter"):
                pull()
            assert pull(token=TOKEN, cache_dir=hub.folder / "mine") == CONFIG
        assert list((hub.folder / "mine").rglob(NAME))
        assert hub.cached() == []

    def test_force_download(self, hub_here):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        pull()
        pull()
        assert len(asked(hub_here)) == 1
        pull(force_download=True)
        assert len(asked(hub_here)) == 2

    def test_what_is_not_there_is_named(self, hub_here, tmp_path):
        hub_here.put(REPO, {"README.md": "no config"})
        with pytest.raises(FileNotFoundError, match=rf"no {NAME} in {REPO} on the Hub"):
            pull()
        with pytest.raises(FileNotFoundError, match=rf"no inner/{NAME} in {REPO} at main"):
            pull(subfolder="inner", revision="main")
        with pytest.raises(FileNotFoundError, match=r"no repository someone/absent .*Check the name"):
            pull("someone/absent")
        for name in ("no such folder", str(tmp_path / "absent"), "a/b/c", "some one/thing"):
            with pytest.raises(FileNotFoundError, match="neither a folder, a file nor the id"):
                pull(name)
        assert hub_here.cached() == []

    def test_a_compressed_model_lends_its_config(self, hub_here, tmp_path):
        model = json.dumps({"model_type": "qwen2_audio", "compression_config": CONFIG.to_dict(), "limit": float("inf")})
        hub_here.put(REPO, {"config.json": model})
        (tmp_path / "config.json").write_text(model)
        assert pull() == pull(str(tmp_path)) == CONFIG
        hub_here.put(REPO, {NAME: OTHER.to_json_string()})
        assert pull() == OTHER
        for text in ("{}", "[]", '{"compression_config": {"format": "of others"}}'):
            hub_here.put(REPO, {"config.json": text, NAME: None})
            (tmp_path / "config.json").write_text(text)
            for where in (REPO, str(tmp_path)):
                with pytest.raises(FileNotFoundError, match=f"no {NAME} in"):
                    pull(where)


class TestFaults:
    def test_a_connection_cut_once_is_taken_up_again(self, hub_here):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        hub_here.cut(after=20)
        assert pull() == CONFIG
        assert len(asked(hub_here)) == 2

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_connection_that_is_always_cut_leaves_nothing(self, hub_here, reset):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        hub_here.cut(after=20, times=None, reset=reset)
        with pytest.raises(
            ConnectionError, match=rf"connection to the Hub .* broke during {NAME} of {REPO}.*Try again"
        ):
            pull()
        assert asked(hub_here)
        assert hub_here.cached() == []
        assert not list(hub_here.cache().rglob("*.incomplete"))
        with pytest.raises(FileNotFoundError, match="not in the cache"):
            pull(local_files_only=True)
        hub_here.faults.clear()
        assert pull() == CONFIG

    def test_a_newer_file_that_does_not_arrive_leaves_the_older_readable(self, hub_here):
        first = hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        pull()
        hub_here.put(REPO, {NAME: OTHER.to_json_string()})
        hub_here.cut(after=20, times=None)
        with pytest.raises(ConnectionError, match="broke"):
            pull()
        assert [path.split("/")[2] for path in hub_here.cached()] == [first]
        assert pull(revision=first) == CONFIG

    def test_a_server_that_is_down(self, hub_here):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        hub_here.fail("/resolve/", 503, times=2)
        assert pull() == CONFIG
        hub_here.fail("/resolve/", 500, times=None)
        assert pull() == CONFIG  # from the cache
        with pytest.raises(
            ConnectionError, match=r"could not be reached for .*quarter, which is not in the cache.*500"
        ):
            pull(cache_dir=hub_here.folder / "another")

    def test_no_server_at_all(self, tmp_path):
        with Hub(tmp_path) as hub:
            pass
        with hub.here(), pytest.raises(ConnectionError, match="could not be reached"):
            pull()

    def test_a_gated_repository(self, hub_here):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string()})
        hub_here.gated.add(REPO)
        with pytest.raises(PermissionError, match=f"gated: ask for access at {hub_here.endpoint}/{REPO}"):
            pull()

    def test_a_token_that_is_not_accepted(self, hub):
        hub.put(REPO, {NAME: CONFIG.to_json_string()})
        with hub.here(token="hf_" + "unknown" * 4), pytest.raises(PermissionError, match="rejected the token"):
            pull()


class TestSafety:
    def test_a_large_file_is_not_downloaded(self, hub_here):
        hub_here.put(REPO, {NAME: CONFIG.to_json_string() + " " * MAX_BYTES})
        with pytest.raises(CompressionConfigError, match=rf"{NAME} of {REPO} has 1,048,\d+ bytes"):
            pull()
        assert asked(hub_here) == []
        assert hub_here.cached() == []

    def test_nothing_but_json_is_asked_for(self, hub_here):
        hub_here.put(REPO, {f"compression_config{end}": "import os" for end in (".py", ".pkl", ".bin", ".yaml")})
        with pytest.raises(FileNotFoundError, match=NAME):
            pull()
        paths = {request.path.rpartition("/")[2] for request in hub_here.requests}
        assert paths == {NAME, "config.json"}

    @pytest.mark.parametrize("text", ["", "{", "\x80\x04K\x01.", '{"method": "os.system"}', "[" * 9999, "null"])
    def test_a_hostile_file_is_refused_and_named(self, hub_here, text):
        hub_here.put(REPO, {NAME: text})
        with pytest.raises(CompressionConfigError):
            pull()
        hub_here.put(REPO, {NAME: '{"method": NaN}'})
        with pytest.raises(CompressionConfigError, match=f"{NAME} of {REPO} .*is not valid JSON: NaN"):
            pull()

    @pytest.mark.parametrize("token", [TOKEN, "hf_" + "unknown" * 4, "hf_secret\n", "hf_sec ret", "hf_s\u00e9cret", ""])
    def test_the_token_is_in_no_message(self, hub, token, caplog):
        caplog.set_level(logging.DEBUG)
        hub.put(REPO, {NAME: "{"})
        errors: list[BaseException] = []
        hub.fail("/resolve/", 500)
        with hub.here(token=None):
            for repo in (REPO, "someone/absent", "not an id", f"{REPO}@nowhere"):
                for call in (pull, CONFIG.push_to_hub):
                    try:
                        call(repo, token=token)
                    except (OSError, ValueError) as error:
                        errors.append(error)
        assert len(errors) >= 5
        for error in errors:
            errors += [e for e in (error.__cause__, error.__context__) if e is not None and e not in errors]
        said = [text for error in errors for text in (str(error), repr(error))]
        text = "\n".join(said) + caplog.text
        assert not token or token not in text
        assert "secret" not in text
        assert "sec ret" not in text

    @pytest.mark.parametrize("given", [False, True])
    def test_a_token_that_the_server_repeats_is_not_shown(self, hub, monkeypatch, given):
        def refuse(handler):
            raise hub_handler.Refusal(403, message=f"no rights with {TOKEN}")

        monkeypatch.setattr(hub_handler.Handler, "_route", refuse)
        token = TOKEN if given else None
        with hub.here(token=None if given else TOKEN):
            for call in (
                lambda: pull(token=token),
                lambda: CONFIG.push_to_hub(REPO, token=token),
                lambda: fetch(REPO, "adapter_config.json", {"token": token}),
            ):
                with pytest.raises(OSError, match=r"no rights with \*\*\*") as raised:
                    call()
                assert TOKEN not in "".join(traceback.format_exception(raised.value))

    def test_what_can_be_a_token(self):
        for token in (None, True, False, TOKEN):
            check_token(token)
        for token in ("", " ", "hf_a b", "hf_a\r\nX-Header: 1", "hf_\u2019", "\x00"):
            with pytest.raises(ValueError, match="not shown here") as raised:
                check_token(token)
            assert "hf_" not in str(raised.value)
        with pytest.raises(TypeError, match="not bytes"):
            check_token(b"hf_secret")

    def test_the_token_of_the_environment_is_no_more_shown(self, hub, caplog):
        caplog.set_level(logging.DEBUG)
        hub.put(REPO, {NAME: CONFIG.to_json_string()})
        with hub.here(token="hf_sec\x01ret"):
            for call in (pull, CONFIG.push_to_hub):
                with pytest.raises(ValueError, match="HF_TOKEN or `hf auth login` is empty, or has") as raised:
                    call(REPO)
                assert "sec" not in str(raised.getrepr(style="short"))
            assert pull(token=False) == CONFIG
        assert "sec" not in caplog.text

    def test_it_is_in_no_repr(self):
        assert TOKEN not in repr(Checkpoint(REPO, {"token": TOKEN}))

    def test_a_password_in_the_address_is_not_shown(self, hub, monkeypatch):
        from huggingface_hub import constants

        with hub.here():
            monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint.replace("//", "//me:pass@"))
            with pytest.raises(FileNotFoundError) as raised:
                pull()
        assert hub.endpoint in str(raised.value)
        assert "pass@" not in str(raised.value)

    def test_what_can_be_an_id(self):
        for name in ("user/repo", "a/b", "user/my.repo-1_x@v2", "user/repo@feature/x", "user/repo@refs/pr/1"):
            assert is_hub_id(name)
        for name in (
            "ltbm",
            "./a",
            "../a",
            "/a/b",
            "~/a",
            "a/b/c",
            "a\\b/c",
            "a b/c",
            "hf://a/b",
            "a/b\n",
            "",
            "a/",
            "@",
        ):
            assert not is_hub_id(name)
        assert split_revision("user/repo@feature/x") == ("user/repo", "feature/x")
        assert split_revision("user/repo@") == ("user/repo@", None)
        assert split_revision("@v1") == ("@v1", None)
