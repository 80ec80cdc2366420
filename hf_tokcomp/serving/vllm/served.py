"""What is served: reading the compression of a vLLM engine, and refusing what cannot be served."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...config.config import BUDGETS, CompressionConfig
from ...config.files import CONFIG_NAME
from ...config.registry import get_method, methods
from ...errors import CompressionConfigError, UnsupportedModelError
from ...messages import shown
from ...models.base import ModelPatch
from ...models.registry import find_patch
from ...prompt.requirements import FROM_PROMPT

COMPRESSION_KEY = "audio_compression"
"""Key of the compression in the ``config.json`` of what vLLM serves, in ``--hf-overrides``, and in a request's
``mm_processor_kwargs``."""
ARCHITECTURES = {
    "qwen2_audio": "HfTokcompQwen2AudioForConditionalGeneration",
    "audioflamingo3": "HfTokcompAudioFlamingo3ForConditionalGeneration",
    "voxtral": "HfTokcompVoxtralForConditionalGeneration",
    "qwen3_asr": "HfTokcompQwen3ASRForConditionalGeneration",
    "qwen2_5_omni": "HfTokcompQwen2_5OmniThinkerForConditionalGeneration",
    "qwen2_5_omni_thinker": "HfTokcompQwen2_5OmniThinkerForConditionalGeneration",
}
"""The architecture that serves each model type under compression."""
NEEDED_OPTIONS = {"voxtral": {"tokenizer_mode": "mistral"}}
"""Options of vLLM that a model type's checkpoints in transformers' layout need."""
PRUNING = "video_pruning_rate"
"""vLLM's option that switches on positions which are known only after the encoder; its value is not used here."""
PRUNING_ON = 0.5
SECTIONS = "mrope_section"
"""Key in a text config's rope parameters that gives every token three positions."""


def architecture_of(model_type: str) -> str:
    """The architecture that serves a model type.

    Raises:
        UnsupportedModelError: there is none.
    """
    if model_type not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"{model_type!r} is not served under compression in vLLM yet; {', '.join(ARCHITECTURES)} are. With "
            "transformers, hf_tokcomp.patch compresses it, and hf_tokcomp.embed_audio makes what stock vLLM takes with "
            "enable_mm_embeds, where its class of the model takes embeddings."
        )
    return ARCHITECTURES[model_type]


def sections_of(text_config: Any) -> list[int]:
    """The rotary pairs that go by each of a token's three positions: all by the first, which is plain RoPE.

    The other two hold what must survive between vLLM's calls, see `positions`.

    Raises:
        CompressionConfigError: this kind of rotary embedding takes one position only.
    """
    parameters = rope_of(text_config)
    kind = parameters["rope_type"]
    if kind != "default":
        raise CompressionConfigError(
            f"positions='original' cannot be had in vLLM with rotary embeddings of type {kind!r}; use 'contiguous'."
        )
    head = getattr(text_config, "head_dim", None) or text_config.hidden_size // text_config.num_attention_heads
    return [int(head * parameters.get("partial_rotary_factor", 1.0)) // 2, 0, 0]


def rope_of(text_config: Any) -> dict[str, Any]:
    """The parameters of the rotary embedding; Mistral's own configs have none until vLLM has read the overrides."""
    return {"rope_type": "default", **(getattr(text_config, "rope_parameters", None) or {})}


def check_servable(config: CompressionConfig) -> None:
    """Raise if vLLM cannot serve a compression, whatever the model.

    vLLM counts an audio's tokens before any encoder runs, and keeps encoder outputs by the audio alone.

    Raises:
        CompressionConfigError: it cannot; the message says why, and what can be.
    """
    if not config.deterministic_length:
        raise CompressionConfigError(
            f"{config.method!r} with these options keeps as many tokens as the audio's content asks for, and vLLM must "
            "know the count before it hears the audio. Give it a budget, or use another method."
        )
    needs = get_method(config.method).needs_of(config)
    if needs & FROM_PROMPT:
        fits = [name for name, method in methods().items() if method.deterministic_length]
        fits = [name for name in fits if not methods()[name].needs & FROM_PROMPT]
        raise CompressionConfigError(
            f"{config.method!r} with these options goes by the user's question, and vLLM encodes an audio without it, "
            f"once for all questions. Methods that go by the audio alone: {', '.join(fits)}."
        )


@dataclass(frozen=True)
class Served:
    """The compression of an engine, checked.

    Args:
        config: the compression.
        patch: the model's patch.
    """

    config: CompressionConfig
    patch: ModelPatch

    @classmethod
    def of(cls, model_config: Any) -> Served:
        """Read it from vLLM's `ModelConfig`.

        Raises:
            CompressionConfigError: there is none, or it cannot be served as the engine is started.
            UnsupportedModelError: the model is not served under compression.
        """
        hf_config = model_config.hf_config
        patch = find_patch(hf_config.model_type)
        if patch is None:
            architecture_of(hf_config.model_type)  # raises
            raise UnsupportedModelError(f"{hf_config.model_type!r} has no patch.")
        stored = getattr(hf_config, COMPRESSION_KEY, None)
        if stored is None:
            raise CompressionConfigError(
                f"{hf_config.architectures[0]} compresses, but the model's config has no {COMPRESSION_KEY!r}. Start "
                "the engine with **hf_tokcomp.serving.vllm.engine_args(compression), or with --hf-overrides "
                f'\'{{"{COMPRESSION_KEY}": {{"method": ...}}}}\'.'
            )
        config = CompressionConfig.from_dict(stored)
        check_servable(config)
        patch.check_config(config)
        missing = sorted(get_method(config.method).needs_of(config) - patch.supplies)
        if missing:
            raise CompressionConfigError(
                f"{config.method!r} goes by {' and '.join(missing)}, which {hf_config.model_type!r} does not give: "
                f"{patch.unsupplied}."
            )
        if COMPRESSION_KEY in (model_config.multimodal_config.mm_processor_kwargs or {}):
            raise CompressionConfigError(
                f"{COMPRESSION_KEY!r} in --mm-processor-kwargs is for single requests; put the engine's compression "
                "into --hf-overrides or into config.json."
            )
        if config.positions == "original":
            _check_positions(model_config)
        return cls(config, patch)

    def of_request(self, given: Any) -> CompressionConfig:
        """The compression of a request that asks for a smaller budget than the engine's.

        Args:
            given: what the request has under `COMPRESSION_KEY`; None for the engine's own. A mapping with one of the
                budgets, and nothing else but the engine's method.

        Raises:
            CompressionConfigError: it asks for anything else.
        """
        if given is None:
            return self.config
        method = self.config.method
        if get_method(method).learns:
            raise CompressionConfigError(
                f"{method!r} has learned its number of tokens, so that requests cannot change it; leave out "
                f"{COMPRESSION_KEY!r}."
            )
        if not isinstance(given, Mapping) or given.get("method", method) != method:
            raise CompressionConfigError(
                f"{COMPRESSION_KEY}={shown(given)}: this server compresses by {method!r}, and a request chooses its "
                "budget only, as in {'retention_ratio': 0.1}."
            )
        budget = {name: value for name, value in given.items() if name != "method"}
        others = sorted(str(name) for name in budget if name not in BUDGETS)
        if others or len(budget) != 1:
            raise CompressionConfigError(
                f"{COMPRESSION_KEY}={shown(given)}: a request gives one of {', '.join(BUDGETS)}, and nothing else."
            )
        return self.config.replace(**budget)

    def check_left(self, config: CompressionConfig, tokens: Sequence[int]) -> list[int]:
        """Tokens of each audio after a request's compression, if they are no more than the engine plans memory for.

        Args:
            config: what `of_request` returned.
            tokens: tokens of each audio before compression.

        Raises:
            CompressionConfigError: they are more.
        """
        found = [config.output_length(n, self.patch.frame_rate) for n in tokens]
        for n, wanted in zip(tokens, found, strict=True):
            if wanted > self.left_of(n):
                raise CompressionConfigError(
                    f"The request asks for {wanted} tokens of an audio of {n}, and this server leaves at most "
                    f"{self.left_of(n)}: ask for less, or start the server with a larger budget."
                )
        return found

    def check_adapter(self, name: str, trained: CompressionConfig | None) -> None:
        """Raise if an adapter was trained under another compression.

        Args:
            name: the adapter's name.
            trained: the compression stored with it; None if there is none.

        Raises:
            CompressionConfigError: it was.
        """
        if trained is None or trained == self.config:
            return
        raise CompressionConfigError(
            f"The adapter {name!r} was trained under {trained.to_dict()}, and this server compresses by "
            f"{self.config.to_dict()}: serve it under its own compression. To use it under another one all the same, "
            f"remove {CONFIG_NAME} from its folder."
        )

    def with_budget(self, values: Sequence[float]) -> CompressionConfig:
        """The engine's compression with the budget of `budget_of`."""
        if list(map(str, values)) == list(map(str, budget_of(self.config))):
            return self.config
        name, value = next((name, v) for name, v in zip(BUDGETS, values, strict=True) if not math.isnan(v))
        return self.config.replace(**{name: int(value) if name == "max_tokens" else value})

    def tokens_of(self, frames: Sequence[int], windows: Sequence[int] | None) -> list[int]:
        """Tokens of each audio before compression.

        Args:
            frames: number of valid frames in each window.
            windows: number of windows of each audio; None if every window is an audio.
        """
        each = iter([self.patch.window_tokens(int(n)) for n in frames])
        return [sum(next(each) for _ in range(int(number))) for number in windows or [1] * len(frames)]

    def left_of(self, tokens: int) -> int:
        """Tokens of an audio after compression."""
        return self.config.output_length(tokens, self.patch.frame_rate)

    def most_left_of(self, tokens: int) -> int:
        """The most tokens after compression of any audio with up to so many before."""
        return max(map(self.left_of, range(1, tokens + 1)))

    @cached_property
    def name(self) -> str:
        """What must differ where encoder outputs of several compressions meet in one cache."""
        values = self.config.to_dict()
        return ",".join(f"{key}={value}" for key, value in values.items() if "version" not in key)


def budget_of(config: CompressionConfig) -> list[float]:
    """The budget as numbers, which is how it travels with an audio: NaN for each of `BUDGETS` that is not given."""
    values = [getattr(config, name) for name in BUDGETS]
    return [math.nan if value is None else float(value) for value in values]


def _check_positions(model_config: Any) -> None:
    """Raise unless the engine is started with what ``positions="original"`` needs."""
    text = model_config.hf_config.get_text_config()
    wanted = sections_of(text)
    if list(rope_of(text).get(SECTIONS) or ()) != wanted:
        nested = f'{{"text_config": {{"rope_parameters": {{"{SECTIONS}": {wanted}}}}}}}'
        if hasattr(model_config.hf_config, "thinker_config"):
            nested = f'{{"thinker_config": {nested}}}'
        raise CompressionConfigError(
            f"positions='original' needs room for it beside every position: add {nested} to --hf-overrides, or start "
            "the engine with **hf_tokcomp.serving.vllm.engine_args(compression), or use positions='contiguous'."
        )
    multimodal = model_config.multimodal_config
    if not multimodal.is_multimodal_pruning_enabled():
        raise CompressionConfigError(
            f"positions='original' is known only after the encoder: start vLLM with --{PRUNING.replace('_', '-')} "
            f"{PRUNING_ON}, which switches that on for audio too (the number is not used), or use "
            "positions='contiguous'."
        )
    if multimodal.enable_mm_embeds:
        raise CompressionConfigError(
            "positions='original' needs the places of the kept tokens, which embeddings handed to vLLM do not have: "
            "leave out enable_mm_embeds, or use positions='contiguous'."
        )
