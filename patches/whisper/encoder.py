"""What models with a Whisper-type encoder (two convolutions, then pooling by two) have in common.

Lengths: L1 = (mel - 1) // 2 + 1 positions at 50 Hz, (L1 - 2) // 2 + 1 tokens at 25 Hz.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ...config.encoder_options import EncoderOptions
from ...models.base import EncodedWindows, ModelPatch, Parts
from ...models.dense import dense_weight
from ...models.encoder.batching import in_runs
from ...models.encoder.merging import restored
from ...models.question import ChatTokens
from ...ops.attention import recorded_outputs
from ...ops.audio_tokens import FirstLayer
from ...ops.device import on_device
from .forward import SEEN_BEYOND, check_merging, run_on_sound
from .scores import READ, add_scores

QWEN_CHAT = ChatTokens(start=151644, user=872, end=151645, special=range(151643, 1 << 31))
"""Both models' language models have Qwen2's vocabulary: <|im_start|>, user, <|im_end|>; all later ids are special."""


class WhisperEncoderPatch(ModelPatch):
    """Encodes windows and reads attention and keys off the last layer's projections."""

    relies_on: ClassVar[dict[str, tuple[str, ...]]] = {
        "prepare_inputs_for_generation": (
            "input_ids",
            "next_sequence_length",
            "cache",
            "attention_mask",
            "inputs_embeds",
            "is_first_iteration",
        ),
        "generate": ("inputs", "generation_config", "logits_processor", "stopping_criteria", "streamer"),
    }

    # What a compressed prompt changes is what the language model reads, so LoRA goes there unless told otherwise.
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": r".*\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
        "projector": r".*\.multi_modal_projector\.linear(_1|_2)?",
        "audio_tower": r".*\.audio_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }

    def window_tokens(self, frames: int) -> int:
        positions = (frames - 1) // 2 + 1
        return max(0, (positions - 2) // 2 + 1)

    def window_frames(self, model: Any) -> int:
        tower = model.model.audio_tower
        return int(tower.config.max_source_positions * tower.conv1.stride[0] * tower.conv2.stride[0])

    def feature_dim(self, model: Any) -> int:
        return int(model.model.audio_tower.config.hidden_size)

    def encode(
        self,
        model: Any,
        features: Tensor,
        mask: Tensor,
        needs: frozenset[str],
        options: EncoderOptions,
        frames: list[int],
    ) -> EncodedWindows:
        encode = partial(self._encode_together, model, needs, options)
        device = model.model.audio_tower.conv1.weight.device if options.skip_padding else None
        return in_runs(encode, features, mask, frames, device)

    def _encode_together(
        self,
        model: Any,
        needs: frozenset[str],
        options: EncoderOptions,
        features: Tensor,
        mask: Tensor,
        frames: list[int],
    ) -> EncodedWindows:
        tower = model.model.audio_tower
        layer = tower.layers[-1].self_attn
        wanted = needs & READ
        watch = recorded_outputs(query=layer.q_proj, key=layer.k_proj) if wanted else nullcontext({})
        longest = max([2, *frames])  # of no sound at all 2 frames are run, which pool to a token
        width = longest + SEEN_BEYOND if options.skip_padding else features.shape[-1]
        with watch as recorded:
            if options.reduces or width < features.shape[-1]:
                self.check_encoder(model, options)
                states, place = run_on_sound(tower, features[..., :width], frames, options)
            else:
                states, place = self.run_encoder(model, features, mask), None
        encoded = EncodedWindows(states)
        if not wanted:
            return encoded
        if "key" not in recorded:
            raise RuntimeError(
                "The encoder's last layer was skipped, so there are no attention scores. Set "
                "`model.config.audio_config.encoder_layerdrop = 0` (and on `model.model.audio_tower.layerdrop`)."
            )
        query, key = recorded["query"], recorded["key"]
        if place is not None:  # what stands for s positions attends, and is attended to, as s of them
            query, key = restored(query, place), restored(key, place)
        counts = [((n - 1) // 2 + 1) // options.stride * options.stride for n in frames]
        add_scores(encoded, wanted, layer, query, key, on_device(counts, states.device))
        return encoded

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        if options.merge:
            check_merging(model.model.audio_tower)

    def first_layer(self, model: Any) -> FirstLayer:
        language_model = model.model.language_model
        attention = getattr(language_model, "model", language_model).layers[0].self_attn
        config = language_model.config
        return FirstLayer(
            query=dense_weight(attention.q_proj),
            key=dense_weight(attention.k_proj),
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
        )

    def parts(self, model: Any) -> Parts:
        tower = model.model.audio_tower
        return Parts(
            encoder_begin=tower.conv1,
            encoder_end=tower.layer_norm,
            last_attention=tower.layers[-1].self_attn,
            projector=model.model.multi_modal_projector,
            head=model.get_output_embeddings(),
        )

    def chat_tokens(self, model: Any) -> ChatTokens | None:
        # A checkpoint with a vocabulary of its own may say in its config.json how that marks turns.
        own = getattr(model.config, "chat_tokens", None)
        if own is not None:
            return ChatTokens(own["start"], own["user"], own["end"], range(*own["special"]))
        return QWEN_CHAT if model.get_input_embeddings().num_embeddings > QWEN_CHAT.end else None

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor) -> Tensor:
        """The encoder's last hidden state, ``(windows, tokens, dim)``."""
        raise NotImplementedError

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.multi_modal_projector(features)  # type: ignore[no-any-return]
