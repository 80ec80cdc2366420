"""CompressionCard: the README.md of a repository with a compression, a compressed model or an adapter."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub import ModelCard, ModelCardData

from ..config.config import CompressionConfig
from ..models.base import ModelPatch
from ..models.registry import find_patch
from . import words
from .citations import citations, methods_of
from .existing import Card, sign
from .names import hub_id
from .results import Measurement
from .snippets import snippet

Kind = Literal["config", "model", "adapter"]
LIBRARIES: dict[Kind, str] = {"config": "hf_tokcomp", "model": "transformers", "adapter": "peft"}
RELATIONS: dict[Kind, str] = {"config": "adapter", "model": "finetune", "adapter": "adapter"}
"""Relation on the Hub by kind: a config is applied to a model, like an adapter; a saved model has its own weights."""
ANY_MODEL = "Qwen/Qwen2-Audio-7B-Instruct"
"""Base model in the code snippet of a card that names none."""
UNKNOWN = "path/to/its/base/model"


@dataclass(frozen=True, kw_only=True)
class CompressionCard:
    """The contents of a repository's card. `str(card)` is the text of its README.md.

    Args:
        repo_id: the repository, as loaded by the code snippet on the card.
        revision: its branch; None for the main one.
        config: the compression.
        kind: what the repository holds: only a ``"config"``, a ``"model"`` that was saved compressed, or an
            ``"adapter"`` that was trained under the compression.
        base_model: the model it is for or derived from. A local folder is omitted.
        base_revision: the revision of the base model.
        model_type: the base model's ``config.model_type``; None if unknown.
        has_processor: whether the repository has the processor's files.
        measurements: results measured under this compression.
        prompt: the prompt in the code snippet and the default prompt of the repository; None if not specified.
        license: the Hub's identifier of a licence.
        relation: ``base_model_relation``; None for the one that matches the kind.
        tags: additional tags.

    Example:
        >>> from hf_tokcomp.cards import CompressionCard
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
        >>> card = CompressionCard(repo_id="someone/qwen2-audio-quarter", config=config, license="apache-2.0")
        >>> card.data().license, card.name
        ('apache-2.0', 'qwen2-audio-quarter')
    """

    repo_id: str
    config: CompressionConfig
    revision: str | None = None
    kind: Kind = "config"
    base_model: str | None = None
    base_revision: str | None = None
    model_type: str | None = None
    has_processor: bool = False
    measurements: Sequence[Measurement] = ()
    prompt: str | None = None
    license: str | None = None
    relation: str | None = None
    tags: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of the repository without its owner."""
        return self.repo_id.rsplit("/", 1)[-1]

    def data(self) -> ModelCardData:
        """The front matter."""
        base, pipeline_tag = hub_id(self.base_model), (self._patch() or ModelPatch).pipeline_tag
        tags = ["hf_tokcomp", "audio-token-compression", *methods_of(self.config), *self.tags]
        return ModelCardData(
            library_name=LIBRARIES[self.kind],
            base_model=base,
            base_model_relation=base and (self.relation or RELATIONS[self.kind]),
            pipeline_tag=pipeline_tag,
            tags=tags,
            license=self.license,
            model_name=self.name if self.measurements else None,
            eval_results=[each for measured in self.measurements for each in measured.results(pipeline_tag)] or None,
        )

    def snippet(self) -> str:
        """The code snippet that loads the repository."""
        return snippet(
            self.kind,
            self.repo_id,
            self.revision,
            self._patch(),
            hub_id(self.base_model) or {"config": ANY_MODEL, "model": self.repo_id, "adapter": UNKNOWN}[self.kind],
            self.base_revision if hub_id(self.base_model) else None,
            self.has_processor,
            self.prompt,
            self.config.long_audio,
        )

    def __str__(self) -> str:
        """The whole card, front matter and text."""
        template = importlib.resources.files(__package__).joinpath("template.md").read_text(encoding="utf-8")
        patch = self._patch()
        entries, sources = citations(self.config)
        card = ModelCard.from_template(
            self.data(),
            template_str=template,
            title=self.name,
            intro=self._intro(),
            snippet=self.snippet(),
            without=self._without(),
            facts=[
                *words.facts(self.config, patch),
                ("base model", self._base()),
                *([] if self.prompt is None else [("asked", words.code(self.prompt).replace("|", r"\|"))]),
                ("written by", f"hf_tokcomp {self.config.hf_tokcomp_version}"),
            ],
            config_json=self.config.to_json_string().strip(),
            methods=[words.method(name) for name in methods_of(self.config)],
            measured=[_table(measurement) for measurement in self.measurements],
            limits=words.limits(self.config, {"config": False, "model": None, "adapter": True}[self.kind], patch),
            bibtex="\n\n".join(entries),
            sources=sources,
        )
        return sign(Card.parse(str(card)))

    def _patch(self) -> ModelPatch | None:
        return find_patch(self.model_type)

    def _base(self) -> str:
        base = hub_id(self.base_model)
        if base is None:
            return "any that hf_tokcomp supports" if self.kind == "config" else "not named"
        at = f", revision `{self.base_revision}`" if self.base_revision else ""
        return f"[{base}](https://huggingface.co/{base}){at}"

    def _intro(self) -> str:
        patch = self._patch()
        prompted = patch is None or patch.reads_prompts
        what = {
            "config": "A compression of audio tokens",
            "model": f"{'An audio-language' if prompted else 'A speech recognition'} model that compresses its audio "
            "tokens",
            "adapter": "An adapter that was trained under a compression of audio tokens",
        }[self.kind]
        base = "" if hub_id(self.base_model) is None else f", for {self._base()}"
        method = words.title(self.config)
        kept = words.budget(self.config, None if patch is None else patch.frame_rate)
        return f"{what}{base}. Method: {method}; kept: {kept}."

    def _without(self) -> str:
        if self.kind == "adapter":
            return "The adapter was trained under the compression: without it, it sees other tokens than it learned on."
        off = "without the keyword" if self.kind == "config" else "with `compression=None`"
        return f"The same model without compression: load it {off}."


def _table(measurement: Measurement) -> dict[str, Any]:
    title = measurement.dataset + (f", {measurement.split}" if measurement.split else "")
    trained = any(score.before is not None for score in measurement.scores)
    head = ["compressed", *(["before training"] if trained else []), "all tokens"]
    rows = [
        [
            f"`{score.name}`" + (f" in {score.unit}" if score.unit else ""),
            *map(_number, (score.value, *((score.before,) if trained else ()), score.uncompressed)),
        ]
        for score in measurement.scores
    ]
    asked = f"Asked {words.code(measurement.prompt)}." if measurement.prompt else ""
    return {"title": title, "head": head, "rows": rows, "note": " ".join(filter(None, (asked, measurement.note)))}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
