"""`hf-tokcomp push` and `hf-tokcomp card` against a Hub on loopback: what is sent, what is refused, what stays."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compared
import pytest
import tiny
import torch
import transformers
from hub_client import Hub
from huggingface_hub import ModelCard, constants
from peft import LoraConfig, get_peft_model
from training_files import jsonl

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cards import is_written, make_card
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.cli import main
from hf_tokcomp.cli.push import size_name

LTBM = CompressionConfig(method="ltbm", retention_ratio=0.25)
STRIDE = CompressionConfig(method="stride", retention_ratio=0.2)
QUARTER = ("--compression", "ltbm", "--retention-ratio", "0.25")
REPO = "someone/name"
BASE = "someone/base"
LORA = LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)")


pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressed model with its processor, a plain model, an adapter, and what does not belong to them."""
    folder = tmp_path_factory.mktemp("saved")
    tiny.model("qwen2_audio").save_pretrained(folder / "plain")
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), STRIDE)
    model.save_pretrained(folder / "model")
    tiny.processor("qwen2_audio").save_pretrained(folder / "model")
    for extra in (".secret", ".git/config", "checkpoint-5/optimizer.pt", "__pycache__/x.pyc", "runs/log.txt"):
        (folder / "model" / extra).parent.mkdir(exist_ok=True)
        (folder / "model" / extra).write_text("extra")
    model.config._name_or_path = model.name_or_path = BASE
    get_peft_model(model, LORA).save_pretrained(folder / "adapter")
    STRIDE.save_pretrained(folder / "adapter")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a command line: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def printed(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert (code, err) == (0, ""), err
    return out


def refused(result: tuple[int, str, str], *said: str) -> str:
    """The one line that says why nothing happened."""
    code, out, err = result
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert [text for text in said if text not in err] == [], err
    return err


def commits(hub: Hub, repo: str = REPO) -> int:
    """Commits beside the first, empty one."""
    return len(hub.repositories[repo].commits) - 1


# push


def test_a_config_is_one_commit(call: Callable[..., Any], hub_here: Hub) -> None:
    out = printed(call("push", REPO, *QUARTER, "--base-model", BASE, "--license", "mit", "--message", "A quarter"))
    files = hub_here.files(REPO)
    assert sorted(files) == ["README.md", "compression_config.json"]
    assert CompressionConfig.from_pretrained(REPO) == LTBM
    assert files["README.md"].decode() == make_card(LTBM, REPO, base_model=BASE, license="mit")
    assert commits(hub_here) == 1
    commit = hub_here.repositories[REPO].at("main")
    assert commit is not None
    assert commit.message == "A quarter"
    assert f"Pushed to {REPO}: {hub_here.endpoint}/{REPO}/commit/{commit.sha}" in out
    assert not hub_here.repositories[REPO].private
    assert hub_here.token not in out


def test_the_name_alone_is_the_users_own(call: Callable[..., Any], hub_here: Hub) -> None:
    printed(call("push", "name", "--compression", "ltbm"))
    assert f'compression="{REPO}"' in hub_here.files(REPO)["README.md"].decode()


def test_a_model_and_what_stays_here(call: Callable[..., Any], hub_here: Hub, saved: Path) -> None:
    out = printed(call("push", REPO, "--folder", saved / "model", "--base-model", BASE, "--private"))
    files = hub_here.files(REPO)
    local = {str(f.relative_to(saved / "model")) for f in (saved / "model").rglob("*") if f.is_file()}
    extra = {".secret", ".git/config", "checkpoint-5/optimizer.pt", "__pycache__/x.pyc", "runs/log.txt"}
    assert set(files) == (local - extra) | {"README.md"}
    assert all(files[name] == (saved / "model" / name).read_bytes() for name in local - extra)
    assert "Stays here: .git/, __pycache__/, checkpoint-5/, .secret, runs/log.txt" in out
    assert hub_here.repositories[REPO].private
    card = ModelCard(files["README.md"].decode())
    assert (card.data.library_name, card.data.base_model) == ("transformers", BASE)
    assert f'Qwen2AudioForConditionalGeneration.from_pretrained("{REPO}"' in card.text
    assert f'AutoProcessor.from_pretrained("{REPO}")' in card.text
    model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(REPO)
    assert hf_tokcomp.active_config(model) == STRIDE


def test_a_plain_model_gets_the_compression(call: Callable[..., Any], hub_here: Hub, saved: Path) -> None:
    before = (saved / "plain" / "config.json").read_bytes()
    printed(call("push", REPO, "--folder", saved / "plain", *QUARTER, "--base-model", BASE))
    assert (saved / "plain" / "config.json").read_bytes() == before
    model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(REPO)
    assert hf_tokcomp.active_config(model) == LTBM
    stored = json.loads(hub_here.files(REPO)["config.json"])
    del stored["compression_config"]
    assert stored == json.loads(before)
    assert f'AutoProcessor.from_pretrained("{BASE}")' in hub_here.files(REPO)["README.md"].decode()


def test_an_adapter(call: Callable[..., Any], hub_here: Hub, saved: Path) -> None:
    printed(call("push", REPO, "--folder", saved / "adapter"))
    files = hub_here.files(REPO)
    assert set(files) == {f.name for f in (saved / "adapter").iterdir()}
    assert CompressionConfig.from_pretrained(REPO) == STRIDE
    card = ModelCard(files["README.md"].decode())
    assert (card.data.library_name, card.data.base_model, card.data.base_model_relation) == ("peft", BASE, "adapter")
    assert "lora" in card.data.tags
    assert [tag for tag in card.data.tags if ":" in tag] == []
    assert "More Information Needed" not in card.text
    assert f'hf_tokcomp.load_adapter("{REPO}"' in card.text
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == BASE


def test_an_adapter_of_a_folder_needs_the_name_of_its_base(
    call: Callable[..., Any], hub_here: Hub, saved: Path, tmp_path: Path
) -> None:
    values = json.loads((saved / "adapter" / "adapter_config.json").read_text())
    folder = tmp_path / "adapter"
    folder.mkdir()
    for file in (saved / "adapter").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "adapter_config.json").write_text(json.dumps(values | {"base_model_name_or_path": str(saved / "plain")}))
    refused(call("push", REPO, "--folder", folder), "which others do not have: name one on the Hub")
    assert hub_here.requests == []
    printed(call("push", REPO, "--folder", folder, "--base-model", BASE, "--base-revision", "v1"))
    sent = json.loads(hub_here.files(REPO)["adapter_config.json"])
    assert sent == values | {"base_model_name_or_path": BASE, "revision": "v1"}
    assert f'"{BASE}", revision="v1", compression="{REPO}"' in hub_here.files(REPO)["README.md"].decode()
    assert str(saved) not in "".join(content.decode(errors="replace") for content in hub_here.files(REPO).values())


def test_a_branch_is_made_and_main_is_left_alone(call: Callable[..., Any], hub_here: Hub) -> None:
    hub_here.put(REPO, {"README.md": "Mine."})
    code, _, err = call("push", REPO, *QUARTER, "--revision", "quarter")
    assert (code, err.count("\n")) == (0, 1)
    assert "was not changed; overwrite_card (--overwrite-card) replaces it" in err
    assert hub_here.files(REPO) == {"README.md": b"Mine."}
    assert set(hub_here.files(REPO, "quarter")) == {"README.md", "compression_config.json"}
    assert CompressionConfig.from_pretrained(REPO, revision="quarter") == LTBM
    printed(call("push", REPO, "--compression", "stride", "--revision", "quarter", "--overwrite-card"))
    card = hub_here.files(REPO, "quarter")["README.md"].decode()
    named = re.search(r'compression="([^"]+)"', card)
    assert named
    assert CompressionConfig.from_pretrained(named[1]) == CompressionConfig(method="stride")
    assert hub_here.files(REPO) == {"README.md": b"Mine."}


# Whose card stays


def test_a_card_on_the_hub_stays_if_somebody_wrote_it(call: Callable[..., Any], hub_here: Hub) -> None:
    printed(call("push", REPO, *QUARTER, "--license", "mit"))
    printed(call("push", REPO, "--compression", "stride"))
    renewed = hub_here.files(REPO)["README.md"].decode()
    assert ModelCard(renewed).text == ModelCard(make_card(CompressionConfig(method="stride"), REPO)).text
    assert ModelCard(renewed).data.license == "mit"
    edited = f"{renewed}\nIt works for me.\n"
    hub_here.put(REPO, {"README.md": edited})
    code, _, err = call("push", REPO, *QUARTER)
    assert (code, hub_here.files(REPO)["README.md"].decode()) == (0, edited)
    assert f"The README.md of {REPO} was not changed; overwrite_card (--overwrite-card) replaces it" in err
    assert CompressionConfig.from_pretrained(REPO) == LTBM
    printed(call("push", REPO, *QUARTER, "--overwrite-card"))
    assert not is_written(hub_here.files(REPO)["README.md"].decode())


def test_a_card_in_the_folder_goes_along(call: Callable[..., Any], hub_here: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    LTBM.save_pretrained(folder)
    (folder / "README.md").write_text("Mine.")
    hub_here.put(REPO, {"README.md": "Older."})
    code, _, err = call("push", REPO, "--folder", folder)
    assert (code, err.count("--overwrite-card")) == (0, 1)
    assert hub_here.files(REPO)["README.md"] == b"Mine."
    printed(call("push", REPO, "--folder", folder, "--overwrite-card"))
    assert "# name" in hub_here.files(REPO)["README.md"].decode()
    assert (folder / "README.md").read_text() == "Mine."


# dry run and card


@pytest.mark.parametrize("what", ["config", "model", "adapter"])
def test_a_dry_run_asks_nothing(call: Callable[..., Any], hub_here: Hub, saved: Path, what: str) -> None:
    given = QUARTER if what == "config" else ("--folder", saved / what)
    out = printed(call("push", REPO, *given, "--dry-run", "--private"))
    assert hub_here.requests == []
    assert hub_here.repositories == {}
    card = printed(call("card", REPO, *given))
    assert card in out
    assert out.rstrip().endswith("written by hand would be kept.")
    rows = dict(re.findall(r"^(\S+\.\w+) +([\d.]+ [KM]?B)$", out, re.MULTILINE))
    assert rows["README.md"] == size_name(len(card.encode()))
    if what == "config":
        assert set(rows) == {"README.md", "compression_config.json"}
    else:
        names = [f.relative_to(saved / what).as_posix() for f in (saved / what).rglob("*") if f.is_file()]
        listed = {name for name in names if not name.startswith((".", "check", "__", "runs"))}
        listed |= {"README.md"}
        assert set(rows) == listed
        assert rows["adapter_config.json" if what == "adapter" else "model.safetensors"]
    assert hub_here.requests == []
    printed(call("push", REPO, *given))
    assert hub_here.files(REPO)["README.md"].decode() == card


def test_a_card_is_written_unless_somebody_wrote_one(call: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    assert printed(call("card", REPO, *QUARTER, "-o", file)) == f"Wrote {file}.\n"
    assert file.read_text() == make_card(LTBM, REPO)
    printed(call("card", REPO, "--compression", "stride", "-o", file))
    file.write_text("Mine.")
    refused(call("card", REPO, *QUARTER, "-o", file), "a card that somebody wrote; --overwrite-card replaces it")
    assert file.read_text() == "Mine."
    printed(call("card", REPO, *QUARTER, "-o", file, "--overwrite-card"))
    assert file.read_text() == make_card(LTBM, REPO)
    refused(call("card", REPO, *QUARTER, "-o", tmp_path / "absent" / "x.md"), "There is no folder")


def test_sizes() -> None:
    assert [size_name(n) for n in (0, 999, 1000, 2_345_678, 7e9, 2e12)] == [
        "0 B", "999 B", "1 KB", "2.35 MB", "7 GB", "2e+03 GB",
    ]  # fmt: skip


# metrics


def test_what_compare_wrote(call: Callable[..., Any], tmp_path: Path) -> None:
    code, _, err = call(
        "compare", "--compression", "ltbm", "--compression", "random", "--retention-ratio", "1/4",
        "--positions", "contiguous", "--seeds", "2", "--max-new-tokens", "6", "--output", "report.json",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    plain, ltbm, random = compared.cells(report).values()
    spent = next(cost for cost in report["costs"] if cost["run"] == ltbm["runs"][0])
    seconds = sum(recording["seconds"] for recording in report["recordings"])
    out = printed(call("card", REPO, *QUARTER, "--metrics", "report.json"))
    found = {result.metric_type: result.metric_value for result in ModelCard(out).data.eval_results or ()}
    assert spent["prefill_seconds"] > 0 < spent["decode_seconds"]
    assert found.pop("prefill_seconds") == pytest.approx(spent["prefill_seconds"] / 3, abs=1e-4)
    assert found.pop("decode_seconds") == pytest.approx(spent["decode_seconds"] / 3, abs=1e-4)
    assert found == {
        "wer": round(ltbm["wer"], 4),
        "exact_match": round(ltbm["exact_match"], 4),
        "audio_tokens_per_second": pytest.approx(sum(ltbm["tokens_after"][0]) / seconds, abs=0.011),
    }
    assert f"| `wer` in % | {ltbm['wer']:.4g} | {plain['wer']:.4g} |" in out
    assert "### the recordings that ship with hf_tokcomp" in out
    assert "the model that ships with hf_tokcomp, 3 items" in out
    assert os.path.dirname(hf_tokcomp.__file__) not in out

    seed = '{"method": "random", "retention_ratio": 0.25, "seed": 1}'
    out = printed(call("card", REPO, "--compression", seed, "--metrics", "report.json", "--dataset", "Three strings"))
    results = ModelCard(out).data.eval_results or []
    assert {r.dataset_name for r in results} == {"Three strings"}
    assert next(r.metric_value for r in results if r.metric_type == "wer") == round(random["wer_by_seed"][1], 4)

    other = ("--compression", "stride", "--metrics", "report.json")
    refused(call("card", REPO, *other), "report.json: this compression is not among those measured", "ltbm@0.25")
    (tmp_path / "report.json").write_text(json.dumps(report | {"model": "someone/else"}))
    given = ("card", REPO, *QUARTER, "--metrics", "report.json", "--base-model")
    refused(call(*given, BASE), f"it was measured with someone/else, and not with {BASE} or {REPO}")
    assert "someone/else, 3 items" in printed(call(*given, "someone/else"))


def test_what_compare_and_eval_wrote_into_folders(call: Callable[..., Any], tmp_path: Path) -> None:
    """Both write the same files, and either of them goes onto a card: the same numbers for the same answers."""
    rows = [{"audio": str(path), "text": truth} for path, truth in recordings()]
    (tmp_path / "strings").mkdir()
    table = jsonl(tmp_path / "strings" / "test.jsonl", *rows)
    told = ("--compression", "ltbm", "--retention-ratio", "1/4", "--resamples", "100", "--dataset", str(table))
    code, _, err = call("eval", "asr", *told, "--output", "measured")
    assert code == 0, err
    told = ("--compression", "ltbm", "--retention-ratio", "1/4", "--positions", "contiguous", "--dataset", str(table))
    code, _, err = call("compare", *told, "--output", "compared")
    assert code == 0, err
    assert {file.name for file in Path("measured").iterdir()} == {file.name for file in Path("compared").iterdir()}
    found = []
    for folder in ("measured", "compared"):
        out = printed(call("card", REPO, *QUARTER, "--metrics", folder))
        assert "### test\n" in out
        assert "lower-cased, without punctuation" in out
        found.append({r.metric_type: r.metric_value for r in ModelCard(out).data.eval_results or ()})
        assert out == printed(call("card", REPO, *QUARTER, "--metrics", Path(folder, "results.json")))
    for phase in ("prefill", "decode"):
        assert found[1].pop(f"{phase}_seconds") > 0
    assert found[1].pop("exact_match") >= 0
    assert found[0] == found[1]
    assert set(found[0]) == {"wer", "audio_tokens_per_second"}


def test_recordings_that_have_no_name_need_one(call: Callable[..., Any], tmp_path: Path) -> None:
    one = next(str(path) for path, _ in recordings())
    told = ("--compression", "ltbm", "--retention-ratio", "1/4", "--positions", "contiguous", "--max-new-tokens", "2")
    code, _, err = call("compare", one, *told, "--output", "report.json")
    assert code == 0, err
    given = ("card", REPO, *QUARTER, "--metrics", "report.json")
    refused(call(*given), "it does not say what the recordings are: add --dataset NAME")
    out = printed(call(*given, "--dataset", "One string"))
    found = {r.metric_type for r in ModelCard(out).data.eval_results or ()}
    assert found == {"audio_tokens_per_second", "prefill_seconds", "decode_seconds"}, "nobody knows what is right"


# What is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("bad name", *QUARTER), "'bad name' cannot be the name of a repository on the Hub: write USER/NAME"),
        (("a/b/c", *QUARTER), "cannot be the name of a repository"),
        ((REPO,), "There is no compression to share"),
        ((REPO, "--compression", "ltbn"), "did you mean 'ltbm'"),
        ((REPO, *QUARTER, "--base-model", "/models/mine"), "is not a Hub id, so others cannot load it"),
        ((REPO, *QUARTER, "--base-revision", "v1"), "was given without a base model"),
        ((REPO, *QUARTER, "--metrics", "absent.json"), "There is no file of metrics absent.json"),
        ((REPO, *QUARTER, "--dataset", "Clotho"), "A data set, 'Clotho', was given without metrics"),
        ((REPO, *QUARTER, "--folder", "absent"), "There is no folder absent"),
        ((REPO, *QUARTER, "--folder", "{saved}/empty"), "it is not a model, adapter or config"),
        ((REPO, "--folder", "{saved}/plain"), "There is no compression to share"),
        ((REPO, *QUARTER, "--folder", "{saved}/model"), "The folder's config.json has {'hf_tokcomp_version'"),
        ((REPO, *QUARTER, "--folder", "{saved}/adapter"), "The folder's compression_config.json has"),
        ((REPO, "--folder", "{saved}/adapter", "--base-model", "a/b"), f"was trained on {BASE}, and not on a/b"),
        ((REPO, *QUARTER, "--token-file", "absent"), "There is no file absent with a token"),
    ],
)
def test_mistakes_are_one_line_and_send_nothing(
    call: Callable[..., Any], hub_here: Hub, saved: Path, given: tuple[str, ...], said: str
) -> None:
    refused(call("push", *(text.replace("{saved}", str(saved)) for text in given)), said)
    assert hub_here.requests == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"compression_config.json": '{"method": "ltbm"}', "README.md": "\udcff"}, "README.md is not text in UTF-8"),
        ({"config.json": "{}"}, "has no weights: save the model there first"),
        ({"adapter_config.json": "{}", "model.safetensors": ""}, "has no weights: save the adapter there first"),
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": ""}, "has a model of type 'bert'"),
        ({"config.json": "[", "model.safetensors": ""}, "is not valid JSON"),
        ({"config.json": "[]", "model.safetensors": ""}, "is not a JSON object"),
        ({"compression_config.json": '{"method": "x"}'}, "Unknown compression method 'x'"),
        (
            {"adapter_config.json": '{"base_model_name_or_path": null}', "adapter_model.safetensors": ""},
            "The adapter's base model is None",
        ),
    ],
)
def test_broken_folders(
    call: Callable[..., Any], hub_here: Hub, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    compression = () if "compression_config.json" in files else QUARTER
    refused(call("push", REPO, "--folder", folder, *compression), said)
    assert hub_here.requests == []


def test_without_a_token(call: Callable[..., Any], hub: Hub) -> None:
    with hub.here(token=None):
        for name in (REPO, "name"):
            refused(call("push", name, *QUARTER), "`hf auth login`", "Nothing was created")
    assert hub.repositories == {}


def test_a_wrong_token_is_refused_and_never_shown(call: Callable[..., Any], hub: Hub, tmp_path: Path) -> None:
    wrong = "hf_wrongwrongwrong"
    with hub.here(token=wrong):
        assert wrong not in refused(call("push", REPO, *QUARTER), "rejected the token", "Nothing was created")
    with hub.here():
        file = tmp_path / "token"
        file.write_text(f"{wrong}\n")
        assert wrong not in refused(call("push", REPO, *QUARTER, "--token-file", file), "rejected the token")
        for bad in ("", "two words", "hf_a\nhf_b", "hf_\N{SNOWMAN}"):
            file.write_text(bad, encoding="utf-8")
            err = refused(call("push", REPO, *QUARTER, "--token-file", file), "The token given is empty, or has spaces")
            assert not bad or bad not in err
        file.write_bytes(b"\xff")
        refused(call("push", REPO, *QUARTER, "--token-file", file), "The token given is empty, or has spaces")
        file.write_text(f" {hub.token}\n")
        with hub.here(token=None):
            printed(call("push", REPO, *QUARTER, "--token-file", file))
    assert commits(hub) == 1


def test_a_server_that_echoes_the_token(call: Callable[..., Any], hub_here: Hub, monkeypatch: Any) -> None:
    hub_here.forbidden.add(hub_here.token)  # it says in its answer who may not write
    refused_line = refused(call("push", f"{hub_here.token}/name", *QUARTER), "rejected the token")
    assert hub_here.token not in refused_line
    assert "***" in refused_line


def test_no_rights(call: Callable[..., Any], hub_here: Hub) -> None:
    hub_here.forbidden.add("other")
    refused(call("push", "other/name", *QUARTER), "rejected the token", "You don't have the rights")


def test_a_commit_that_fails_leaves_nothing_half(call: Callable[..., Any], hub_here: Hub, saved: Path) -> None:
    hub_here.fail("/commit/", status=500, times=None)
    refused(call("push", REPO, "--folder", saved / "model"), "500", "one commit: all of it is there, or nothing.")
    assert hub_here.files(REPO) == {}
    hub_here.faults.clear()
    hub_here.fail("/commit/", status=403)
    refused(call("push", REPO, *QUARTER), "Nothing was uploaded; someone/name is as it was.")
    assert hub_here.files(REPO) == {}
    hub_here.fail("/preupload/", status=403)
    refused(call("push", "someone/new", *QUARTER), "Nothing was uploaded; someone/new was created and is empty.")
    assert hub_here.files("someone/new") == {}
    hub_here.cut("/commit/", method="POST")
    refused(call("push", "someone/cut", *QUARTER), "one commit: all of it is there, or nothing.")
    assert set(hub_here.files("someone/cut")) == {"README.md", "compression_config.json"}
    printed(call("push", REPO, *QUARTER))
    assert commits(hub_here) == 1


def test_a_card_that_cannot_be_read_is_not_replaced(call: Callable[..., Any], hub_here: Hub) -> None:
    hub_here.put(REPO, {"README.md": "Mine."})
    hub_here.fail("/resolve/", status=500, times=None)
    refused(call("push", REPO, *QUARTER), "Nothing was uploaded; someone/name is as it was.")
    assert hub_here.files(REPO) == {"README.md": b"Mine."}


def test_private_does_not_pass_over_a_public_repository(call: Callable[..., Any], hub_here: Hub) -> None:
    hub_here.put(REPO, {})
    refused(call("push", REPO, *QUARTER, "--private"), "already exists and is public")
    assert hub_here.files(REPO) == {}


def test_no_hub(call: Callable[..., Any], hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub.here(offline=True):
        refused(call("push", REPO, *QUARTER), "HF_HUB_OFFLINE is set")
    with hub.here():
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        said = refused(call("push", REPO, *QUARTER), "Try again. Nothing was created, and nothing uploaded.")
        assert "may have" not in said


def test_what_a_broken_answer_leaves_is_said_once(call: Callable[..., Any], hub_here: Hub) -> None:
    hub_here.cut("/repos/create", method="POST", after=0, times=None)
    said = refused(call("push", REPO, *QUARTER), f"Nothing was uploaded; {REPO} may have been created.")
    assert "Nothing was created" not in said
    hub_here.faults.clear()
    hub_here.cut("/commit/", method="POST", times=None)
    said = refused(call("push", REPO, *QUARTER), "It is one commit: all of it is there, or nothing.")
    assert "Nothing was" not in said
    assert "may have" not in said


# What leaves this machine


LEFT = (
    "training_args.bin", "trainer_state.json", "finetune.json", "metrics.json", "optimizer.pt", "scheduler.pt",
    "rng_state.pth", "all_results.json", "runs/events.out", "checkpoint-2/adapter_config.json", "adapter_model.bin",
    "pytorch_model.bin", "notes.txt", "picture.png", "config.json.bak", ".env", ".x.safetensors",
)  # fmt: skip
"""What no loader needs: pickles, logs and notes, which name data, folders and users."""


def trained(folder: Path, saved: Path, base: str) -> Path:
    """What a training leaves: the adapter, and beside it what must stay here."""
    for file in (saved / "adapter").iterdir():
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    for name in LEFT:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps({"arguments": {"output_dir": str(folder)}}))
    arguments = transformers.TrainingArguments(output_dir=str(folder), report_to=[])
    torch.save(arguments, folder / "training_args.bin")
    tiny.processor("qwen2_audio").save_pretrained(folder)
    for name, added in (
        ("adapter_config.json", {"base_model_name_or_path": base}),
        ("tokenizer_config.json", {"name_or_path": base, "special_tokens_map_file": f"{base}/special_tokens_map.json"}),
    ):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | added))
    (folder / "LICENSE.txt").write_text("Apache")
    return folder


def test_nothing_of_this_machine_leaves_it(
    call: Callable[..., Any], hub_here: Hub, saved: Path, tmp_path: Path
) -> None:
    folder = trained(tmp_path / "run", saved, str(saved / "plain"))
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    out = printed(call("push", REPO, "--folder", folder, "--base-model", BASE))
    files = hub_here.files(REPO)
    assert set(files) == {
        "README.md", "LICENSE.txt", "adapter_config.json", "adapter_model.safetensors", "compression_config.json",
        *(f.name for f in (saved / "model").iterdir() if f.name.startswith(("tokenizer", "processor", "chat_"))),
    }  # fmt: skip
    for path in (tmp_path, saved, Path.home(), Path.cwd()):
        assert not [name for name, content in files.items() if str(path).encode() in content], path
    assert not any(content[:4] in (b"PK\x03\x04", b"\x80\x02") for content in files.values())
    kept = json.loads(files["tokenizer_config.json"])
    assert {"name_or_path", "special_tokens_map_file"}.isdisjoint(kept)
    assert kept["tokenizer_class"]
    stays = out.split("Stays here: ")[1].splitlines()[0].split(", ")
    assert set(stays) == {name for name in LEFT if "checkpoint" not in name} | {"checkpoint-2/"}
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before
    processor = transformers.AutoProcessor.from_pretrained(REPO)
    assert processor.tokenizer.get_vocab() == tiny.processor("qwen2_audio").tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("file", "added", "said"),
    [
        ("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_name_or_path": "/home/me/codec"}}, "/home/me"),
        ("adapter_config.json", {"eva_config": {"cache_file": "~/cache.pt"}}, "cache_file: '~/cache.pt'"),
        ("adapter_config.json", {"extra": ["C:\\\\models\\\\base"]}, "extra: 'C:"),
    ],
)
def test_a_place_of_this_machine_that_is_needed_is_refused(
    call: Callable[..., Any], hub_here: Hub, saved: Path, tmp_path: Path, file: str, added: Any, said: str
) -> None:
    folder = trained(tmp_path / "run", saved, BASE)
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | added))
    refused(call("push", REPO, "--folder", folder), f"{file} contains a local path", said, "take it out")
    assert hub_here.requests == []


def test_a_written_card_that_names_a_folder_of_this_machine_is_refused(
    call: Callable[..., Any], hub_here: Hub, saved: Path, tmp_path: Path
) -> None:
    folder = trained(tmp_path / "run", saved, BASE)
    (folder / "README.md").write_text(f"---\nbase_model: {saved / 'plain'}\n---\n# Mine\n")
    refused(call("push", REPO, "--folder", folder), "README.md contains a local path, base_model", "--overwrite")
    assert hub_here.requests == []
    printed(call("push", REPO, "--folder", folder, "--overwrite-card"))
    assert str(saved) not in hub_here.files(REPO)["README.md"].decode()
    # A place in the front matter of a card that nobody wrote is not taken over into ours.
    (folder / "README.md").write_text(f"---\ndatasets:\n- {tmp_path}/rows\nlicense: mit\n---\n")
    printed(call("push", "someone/other", "--folder", folder))
    card = hub_here.files("someone/other")["README.md"].decode()
    assert str(tmp_path) not in card
    assert ModelCard(card).data.license == "mit"


def test_pickled_weights_are_not_shared(call: Callable[..., Any], hub_here: Hub, saved: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", saved, BASE)
    (folder / "adapter_model.safetensors").unlink()
    refused(call("push", REPO, "--folder", folder), "has no weights", "pickled weights are not shared")
    assert hub_here.requests == []
