"""What models with a Whisper-type encoder (two convolutions, then pooling by two) have in common.

Lengths: L1 = (mel - 1) // 2 + 1 positions at 50 Hz, (L1 - 2) // 2 + 1 tokens at 25 Hz.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

from torch import Tensor

from hf_tokcomp.attention import attention_received, keys_of_tokens, pool_pairs, recorded_outputs
from hf_tokcomp.model_patch import EncodedWindows, ModelPatch


class WhisperEncoderPatch(ModelPatch):
    """Encodes windows and reads attention and keys off the last layer's projections."""

    relies_on: ClassVar[dict[str, tuple[str, ...]]] = {
        "prepare_inputs_for_generation": (
            "input_ids",
            "next_sequence_length",
            "past_key_values",
            "attention_mask",
            "inputs_embeds",
            "is_first_iteration",
        ),
        "generate": ("inputs", "generation_config", "logits_processor", "stopping_criteria", "streamer"),
    }

    def window_tokens(self, frames: int) -> int:
        positions = (frames - 1) // 2 + 1
        return max(0, (positions - 2) // 2 + 1)

    def window_frames(self, model: Any) -> int:
        tower = model.model.audio_tower
        return int(tower.config.max_source_positions * tower.conv1.stride[0] * tower.conv2.stride[0])

    def encode(self, model: Any, features: Tensor, mask: Tensor, needs: frozenset[str]) -> EncodedWindows:
        tower = model.model.audio_tower
        layer = tower.layers[-1].self_attn
        wanted = needs & {"attention", "keys"}
        watch = recorded_outputs(query=layer.q_proj, key=layer.k_proj) if wanted else nullcontext({})
        with watch as recorded:
            states = self.run_encoder(model, features, mask)
        if not wanted:
            return EncodedWindows(states)
        if "key" not in recorded:
            raise RuntimeError(
                "The encoder's last layer was skipped, so there are no attention scores. Set "
                "`model.config.audio_config.encoder_layerdrop = 0` (and on `model.model.audio_tower.layerdrop`)."
            )
        encoded = EncodedWindows(states)
        if "attention" in needs:
            positions = (mask.sum(-1).to(states.device) - 1) // 2 + 1
            received = attention_received(
                recorded["query"], recorded["key"], positions, heads=layer.num_heads, scale=layer.scaling
            )
            encoded.attention = pool_pairs(received)
        if "keys" in needs:
            encoded.keys = keys_of_tokens(recorded["key"], layer.num_heads)
        return encoded

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor) -> Tensor:
        """The encoder's last hidden state, ``(windows, tokens, dim)``."""
        raise NotImplementedError

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.multi_modal_projector(features)  # type: ignore[no-any-return]
