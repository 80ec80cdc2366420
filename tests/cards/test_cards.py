"""Model cards: their front matter, what they say, whether their program runs, and whose card is replaced."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import tiny
import transformers
from drawn import config as drawn_config
from hub_client import Hub
from huggingface_hub import ModelCard, ModelCardData
from places import ROOT

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cards import CompressionCard, Measurement, Score, is_written, make_card, read_measurements, write_card
from hf_tokcomp.cards import citations as citing
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings

LTBM = CompressionConfig(method="ltbm", retention_ratio=0.25)
BASE = "someone/base"


def program(card: str) -> str:
    """The one Python block of a card."""
    (found,) = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader of a card has: a recording under the name that the program reads."""
    samples, rate = soundfile.read(recordings()[0][0])
    soundfile.write(tmp_path / "question.wav", samples, rate)
    monkeypatch.chdir(tmp_path)


def run(card: str) -> Any:
    """Run a card's program as it stands; its model."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program(card), "card", "exec"), namespace)
    return namespace["model"]


@pytest.fixture
def base(hub_here: Hub) -> Hub:
    """The small model on the Hub, as `BASE`."""
    hub_here.put(BASE, {file.name: file.read_bytes() for file in SMALL_MODEL.iterdir() if file.is_file()})
    return hub_here


# The front matter


@pytest.mark.parametrize(
    ("kind", "library", "relation"),
    [("config", "hf_tokcomp", "adapter"), ("model", "transformers", "finetune"), ("adapter", "peft", "adapter")],
)
def test_front_matter(kind: Any, library: str, relation: str) -> None:
    card = make_card(LTBM, "user/name", kind=kind, base_model=BASE, license="apache-2.0", tags=["digits"])
    assert ModelCard(card).data.to_dict() == {
        "library_name": library,
        "base_model": BASE,
        "base_model_relation": relation,
        "pipeline_tag": "audio-text-to-text",
        "tags": ["hf_tokcomp", "audio-token-compression", "ltbm", "digits"],
        "license": "apache-2.0",
    }
    assert ModelCard(make_card(LTBM, "user/name", base_model=BASE, relation="quantized")).data.base_model_relation == (
        "quantized"
    )


def test_a_folder_is_no_base_model_for_others(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for name in (None, str(tmp_path / "models" / "mine"), str(tmp_path / "gone"), "checkpoint"):
        card = make_card(LTBM, "user/name", base_model=name, base_revision="abc")
        assert ModelCard(card).data.base_model is None
        assert "base_model_relation" not in ModelCard(card).data
        assert str(tmp_path) not in card
        assert "abc" not in card
        assert "any that hf_tokcomp supports" in card


def test_measurements_go_into_the_model_index_and_come_back() -> None:
    measured = [
        Measurement("Clotho v2", (Score("cider", 0.49, 0.5), Score("spice", 0.125)), split="evaluation"),
        Measurement("LibriSpeech", (Score("wer", 0.05),), dataset_id="openslr/librispeech_asr", task="other-task"),
    ]
    card = make_card(LTBM, "user/name", measurements=measured)
    results = ModelCard(card).data.eval_results
    assert results is not None
    read = [
        (r.task_type, r.dataset_type, r.dataset_name, r.dataset_split, r.metric_type, r.metric_value) for r in results
    ]
    assert read == [
        ("audio-text-to-text", "clotho-v2", "Clotho v2", "evaluation", "cider", 0.49),
        ("audio-text-to-text", "clotho-v2", "Clotho v2", "evaluation", "spice", 0.125),
        ("other-task", "openslr/librispeech_asr", "LibriSpeech", None, "wer", 0.05),
    ]
    assert ModelCard(card).data.model_name == "name"
    assert "| `cider` | 0.49 | 0.5 |" in card
    assert "| `wer` | 0.05 |  |" in card
    assert "Nothing was measured" not in card


# What it says


@pytest.mark.parametrize("method", hf_tokcomp.methods())
def test_every_method_has_a_card(method: str) -> None:
    config = drawn_config(method)
    card = make_card(config, "user/name", base_model=BASE)
    assert not is_written(card)
    assert "Nothing was measured" in card
    compile(program(card), "card", "exec")
    (written,) = re.findall(r"^```json\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    assert CompressionConfig.from_dict(json.loads(written)) == config
    for stage in citing.methods_of(config):
        assert hf_tokcomp.methods()[stage].idea in card
        for number in re.findall(r"\d{4}\.\d{5}", hf_tokcomp.methods()[stage].source):
            assert number in card
    assert card.count("@") == card.count("@article") + card.count("@software")
    if method != "none":
        assert "Decoding does not get faster" in card
        assert "hurts speech recognition" in card or "Speech recognition suffers first" in card


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LTBM, ["25 % of an audio's tokens", "750 tokens before, 188 after", "25 before, 6.27 after"]),
        ({"method": "top_k", "tokens_per_second": 5}, ["5 tokens per second", "150 after", "Pruning without training"]),
        ({"method": "stride", "max_tokens": 64}, ["at most 64 tokens per audio", "750 tokens before, 64 after"]),
        ({"method": "segmentation"}, ["depends on the content", "a processor cannot announce it"]),
        ({"method": "none"}, ["all tokens", "nothing gets faster or smaller"]),
        (
            {"method": "ltbm", "positions": "original"},
            ["keeps the position it had", "Tokens keep their places in time"],
        ),
        ({"method": "ltbm", "window": 4}, ["`window` 4"]),
        ({"method": "ltbm", "allocation": "content"}, ["of at most 0.4 s, the budget shared by content"]),
        (
            {"method": "compose", "stages": ["ltbm", "top_k"]},
            [
                "`ltbm` + `top_k`",
                "50 % of an audio's tokens by `ltbm`, then 50 % of what is left by `top_k`",
                "188 after",
            ],
        ),
    ],
)
def test_a_compression_in_words(config: Any, said: list[str]) -> None:
    card = make_card(config if isinstance(config, CompressionConfig) else CompressionConfig.from_dict(config), "user/x")
    assert [text for text in said if text not in card] == []


def test_what_was_trained_is_said() -> None:
    assert "Nothing was trained here" in make_card(LTBM, "user/name")
    assert "No training under this compression is known of" in make_card(LTBM, "user/name", kind="model")
    adapter = make_card(LTBM, "user/name", kind="adapter")
    assert "An adapter that was trained under a compression" in adapter
    assert "training, compression costs accuracy" not in adapter


def test_papers_are_cited_once_and_unknown_sources_by_a_line() -> None:
    card = make_card(
        CompressionConfig(method="compose", stages=["ltbm", "global_merge", "stride", "sa_map"]), "user/name"
    )
    assert card.count("arXiv preprint arXiv:2605.25179") == 1
    assert "\n- `stride`: [arXiv 2608.30927](https://arxiv.org/abs/2608.30927)\n" in card
    assert "\n- `sa_map`: SA-MAP, 2026\n" in card
    assert "2412.04467" not in card


def test_the_papers_of_the_pages_are_those_of_the_cards() -> None:
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/methods.md")]
    written = [re.findall(r"^```bibtex\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) for page in pages]
    assert list(map(len, written)) == [1, 1]
    entries = [entry for (block,) in written for entry in block.strip().split("\n\n")]
    ours = [citing.library_entry(), *(citing.entry(number) for number in citing.PAPERS)]
    assert entries[0] == ours[0]
    assert [entry for entry in entries if entry not in ours] == []
    sources = " ".join(method.source for method in hf_tokcomp.methods().values())
    assert [number for number in citing.PAPERS if number not in sources] == []
    assert len({paper.key for paper in citing.PAPERS.values()}) == len(citing.PAPERS)


# The program


@pytest.mark.usefixtures("recording")
def test_the_program_of_a_config_runs(base: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    revision = base.repositories[BASE].refs["main"]
    base.put(BASE, {"config.json": "{}"}, message="breaks it for those who ignore the revision")
    card = make_card(LTBM, "someone/config", base_model=BASE, base_revision=revision)
    base.put("someone/config", {"compression_config.json": LTBM.to_json_string()})
    assert hf_tokcomp.active_config(run(card)) == LTBM
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("recording")
def test_the_program_of_a_config_for_any_model_runs(hub_here: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    card = make_card(LTBM, "someone/config")
    hub_here.put("Qwen/Qwen2-Audio-7B-Instruct", {f.name: f.read_bytes() for f in SMALL_MODEL.iterdir() if f.is_file()})
    hub_here.put("someone/config", {"compression_config.json": LTBM.to_json_string()})
    assert hf_tokcomp.active_config(run(card)) == LTBM
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(
    "prompt",
    ['Say "it"\nin | words', "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>Transcribe the digits.<|im_end|>\n"],
)
def test_the_program_asks_the_prompt_that_was_stored(base: Hub, prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    whole = transformers.Qwen2AudioProcessor.__call__

    def noted(self: Any, text: Any = None, **rest: Any) -> Any:
        asked.extend([text] if isinstance(text, str) else text)
        return whole(self, text=text, **rest)

    monkeypatch.setattr(transformers.Qwen2AudioProcessor, "__call__", noted)
    card = make_card(LTBM, "someone/config", base_model=BASE, prompt=prompt)
    base.put("someone/config", {"compression_config.json": LTBM.to_json_string()})
    run(card)
    assert len(asked) == 1
    assert prompt in asked[0]
    assert (asked[0] == prompt) == ("<|AUDIO|>" in prompt)
    assert "What is being said?" not in card


@pytest.mark.usefixtures("recording")
def test_the_program_reads_long_audio_in_windows(base: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    config, seen = LTBM.replace(long_audio="windows"), list[Any]()
    process = transformers.Qwen2AudioProcessor._process_audio

    def noted(self: Any, audio: Any, **rest: Any) -> Any:
        seen.append(hf_tokcomp.active_config(self))
        return process(self, audio, **rest)

    monkeypatch.setattr(transformers.Qwen2AudioProcessor, "_process_audio", noted)
    base.put("someone/config", {"compression_config.json": config.to_json_string()})
    run(make_card(config, "someone/config", base_model=BASE))
    assert seen == [config]
    assert "patch(processor" not in make_card(LTBM, "someone/config", base_model=BASE)


@pytest.mark.parametrize("model_type", [None, *tiny.KINDS])
def test_the_class_in_the_program_loads_the_model(model_type: str | None) -> None:
    card = CompressionCard(repo_id="user/name", config=LTBM, base_model=BASE, model_type=model_type)
    name = re.search(r"model = (\w+)\.from_pretrained", card.snippet())
    assert name
    loads = hf_tokcomp.supported_models()
    if model_type is not None:
        assert name[1] == loads[model_type].model_classes[0]
        return
    # Of a base model whose type is not known: no Auto class has them all.
    fits = [kind for kind, patch in loads.items() if name[1] in patch.auto_classes]
    assert {"qwen2_audio", "audioflamingo3"} <= set(fits)
    for kind in fits:
        known = getattr(transformers, name[1])._model_mapping
        own = getattr(transformers, loads[kind].model_classes[0])
        assert known[own.config_class].__name__ in loads[kind].model_classes


# Cards that are there already


PEFT_CARD = (
    str(ModelCard.from_template(ModelCardData(library_name="peft"))) + "\n### Framework versions\n\n- PEFT 0.21.2"
)
TRANSFORMERS_CARD = str(
    ModelCard.from_template(
        ModelCardData(tags=["x"], library_name="transformers"),
        model_description="This is the model card of a 🤗 transformers model that has been pushed on the Hub. This "
        "model card has been automatically generated.",
    )
)


def test_who_wrote_a_card() -> None:
    ours = make_card(LTBM, "user/name")
    assert not is_written(ours)
    assert not is_written(ours.replace("\n", "\r\n"))
    assert not is_written(ours.replace("license", "licence").replace("---\nlibrary", "---\nlicense: mit\nlibrary", 1))
    assert is_written(ours.replace("25 %", "26 %"))
    assert is_written(f"{ours}\nIt works for me.\n")
    assert is_written(ours.replace("# name\n", "# name\n\nIt works for me.\n"))
    for template in (PEFT_CARD, TRANSFORMERS_CARD, "", "---\nlicense: mit\n---\n"):
        assert not is_written(template)
        assert is_written(f"{template}\nIt works for me.\n")


def test_a_new_card_keeps_what_only_the_old_one_knows() -> None:
    old = make_card(
        CompressionConfig(method="stride"),
        "user/name",
        base_model="someone/else",
        license="mit",
        tags=["digits"],
        measurements=[Measurement("a", (Score("wer", 1.0),))],
    ).replace("---\n", "---\nlanguage:\n- en\n- de\n", 1)
    data = ModelCard(make_card(LTBM, "user/name", old)).data.to_dict()
    assert data.pop("tags") == ["hf_tokcomp", "audio-token-compression", "ltbm", "digits"]
    assert data == {
        "library_name": "hf_tokcomp",
        "pipeline_tag": "audio-text-to-text",
        "license": "mit",
        "language": ["en", "de"],
    }
    assert ModelCard(make_card(LTBM, "user/name", old, license="apache-2.0")).data.license == "apache-2.0"
    for broken in ("---\n[1, 2]\n---\n", "---\na: [\n---\n", "no front matter", "---\ntags: 3\n---\n"):
        assert not is_written(make_card(LTBM, "user/name", broken))


def test_write_card_keeps_what_somebody_wrote(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    assert write_card(tmp_path, LTBM, "user/name") == file
    assert file.read_text() == make_card(LTBM, "user/name")
    stride = CompressionConfig(method="stride")
    assert write_card(tmp_path, stride, "user/name") == file
    assert file.read_text() == make_card(stride, "user/name")
    file.write_text("mine")
    assert write_card(tmp_path, LTBM, "user/name") is None
    assert file.read_text() == "mine"
    assert write_card(tmp_path, LTBM, "user/name", overwrite=True) == file
    assert file.read_text() == make_card(LTBM, "user/name")


# Files of metrics


def metrics(folder: Path, values: Any) -> Path:
    file = folder / "metrics.json"
    file.write_text(values if isinstance(values, str) else json.dumps(values))
    return file


def test_plain_numbers(tmp_path: Path) -> None:
    assert read_measurements(metrics(tmp_path, {"wer": 0.5, "bleu": 12}), LTBM, "mine") == [
        Measurement("mine", (Score("wer", 0.5), Score("bleu", 12)))
    ]
    whole = {
        "dataset": "Clotho\n v2",
        "dataset_id": "a/b",
        "split": "test",
        "task": "captioning",
        "note": "once",
        "metrics": {"cider": 0.49},
        "uncompressed": {"cider": 0.5},
    }
    expected = Measurement("Clotho v2", (Score("cider", 0.49, 0.5),), "a/b", "test", "captioning", "once")
    assert read_measurements(metrics(tmp_path, [whole, whole]), LTBM) == [expected, expected]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wer": 0.5}, "add --dataset NAME"),
        ({"dataset": "a", "metrics": {"wer": float("nan")}}, "'wer' must be a finite number, not nan"),
        ({"dataset": "a", "metrics": {"wer": "0.5"}}, "'wer' must be a finite number, not '0.5'"),
        ({"dataset": "a", "metrics": {"wer": True}}, "'wer' must be a finite number, not True"),
        ({"dataset": "a", "metrics": {"wer": 10**400}}, "'wer' must be a finite number"),
        ({"dataset": "a", "metrics": {}}, "no metrics"),
        ({"dataset": "a", "metrics": [1]}, "metrics must be an object"),
        ({"dataset": " ", "metrics": {"wer": 1}}, "dataset must be a text"),
        ({"dataset": "a", "metrics": {"wer": 1}, "uncompressed": {"wr": 1}}, "'wr' is in uncompressed"),
        ({"data_set": "a", "metrics": {"wer": 1}}, "'data_set' is not known: did you mean 'dataset'?"),
        ([], "it is empty"),
        ([1], "it must be an object"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ({"cells": []}, "an earlier version of `hf-tokcomp compare` wrote it"),
        ({"scores": []}, "is no whole result of `hf-tokcomp eval` or `compare`"),
        ({"scores": [{}], "model": "m"}, "is no whole result of `hf-tokcomp eval` or `compare`"),
        ({"dataset": "a", "metrics": {"wer": 1}, "units": ["%"]}, "units must be an object"),
    ],
)
def test_bad_metrics_are_named(tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        read_measurements(metrics(tmp_path, values), LTBM)
    assert "metrics.json" in str(raised.value)


def test_a_missing_file_of_metrics(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of metrics .*absent\.json"):
        read_measurements(tmp_path / "absent.json", LTBM)
