"""The base patch for models with a Whisper-type encoder (two convolutions, 50 positions per second).

Lengths with pooling by two: L1 = (mel - 1) // 2 + 1 positions, (L1 - 2) // 2 + 1 tokens at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from ...config.encoder_options import EncoderOptions
from ...models.audio_parts import AudioParts
from ...models.base import LANGUAGE_MODEL, EncodedWindows, ModelPatch, Parts
from ...models.encoder.batching import in_runs
from ...models.encoder.merging import restored
from ...models.encoder.scores import READ, add_scores
from ...models.question import QWEN_CHAT, ChatTokens
from ...models.windows import Windows
from ...ops.attention import recorded_outputs
from ...ops.device import on_device
from .forward import SEEN_BEYOND, check_merging, run_on_sound


class WhisperEncoderPatch(ModelPatch):
    """Encodes windows, and computes attention and keys from the last layer's projections."""

    frame_rate: ClassVar[float] = 25.0
    positions_per_token: ClassVar[int] = 2
    """Number of encoder positions, at 50 per second, that become a token."""
    masks_padding: ClassVar[bool] = True
    """Whether the encoder masks the positions after a window's sound; if not, they are all encoded."""
    last_norm: ClassVar[str] = "layer_norm"
    """Name of the last module that the encoder calls."""
    chat: ClassVar[ChatTokens | None] = QWEN_CHAT

    # Compression changes what the language model reads, so LoRA goes there by default.
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": LANGUAGE_MODEL,
        "projector": r".*\.multi_modal_projector\.linear(_1|_2)?",
        "audio_tower": r".*\.audio_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }

    def check_call(self, model: Any, call: Mapping[str, Any]) -> None:
        super().check_call(model, call)
        width, wanted = call[self.features].shape[-1], self.window_frames(model)
        if width != wanted:
            raise ValueError(
                f"The windows have {width} mel frames, this model's encoder takes {wanted}. Give the processor "
                "`padding` for the text only, as `text_kwargs={'padding': True}`."
            )

    def window_tokens(self, frames: int) -> int:
        return max(0, ((frames - 1) // 2 + 1) // self.positions_per_token)

    def tower(self, model: Any) -> Any:
        """The audio encoder."""
        return model.model.audio_tower

    def window_frames(self, model: Any) -> int:
        """Number of mel frames in a full window."""
        tower = self.tower(model)
        return int(tower.config.max_source_positions * tower.conv1.stride[0] * tower.conv2.stride[0])

    def feature_dim(self, model: Any) -> int:
        return int(self.tower(model).config.hidden_size)

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        return AudioParts(audio_tower, projector)

    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        encode = partial(self._encode_together, model, needs, options)
        skipping = options.skip_padding and self.masks_padding
        return in_runs(encode, windows, self.tower(model).conv1.weight.device if skipping else None)

    def _encode_together(
        self, model: Any, needs: frozenset[str], options: EncoderOptions, windows: Windows
    ) -> EncodedWindows:
        tower, features, frames = self.tower(model), windows.features, windows.frames
        layer = tower.layers[-1].self_attn
        wanted = needs & READ
        watch = recorded_outputs(query=layer.q_proj, key=layer.k_proj) if wanted else nullcontext({})
        longest = max([2, *frames])  # with no sound at all, 2 frames are run, which pool to a token
        skipping = options.skip_padding and self.masks_padding
        width = longest + SEEN_BEYOND if skipping else features.shape[-1]
        with watch as recorded:
            if options.reduces or width < features.shape[-1]:
                self.check_encoder(model, options)
                states, place = run_on_sound(tower, features[..., :width], frames, options)
            else:
                states, place = self.run_encoder(model, features, windows.mask), None
        encoded = EncodedWindows(states)
        if not wanted:
            return encoded
        if "key" not in recorded:
            raise RuntimeError(
                "The encoder's last layer was skipped, so there are no attention scores. Set "
                "`model.config.audio_config.encoder_layerdrop = 0` (and on `model.model.audio_tower.layerdrop`)."
            )
        query, key = self.as_scored(model, recorded["query"], recorded["key"])
        if place is not None:  # a position that stands for s others attends, and is attended to, as s positions
            query, key = restored(query, place), restored(key, place)
        counts = [((n - 1) // 2 + 1) // options.stride * options.stride for n in frames]
        add_scores(
            encoded,
            wanted,
            query,
            key,
            on_device(counts, states.device),
            heads=query.shape[-1] // layer.head_dim,
            scale=layer.scaling,
            per_token=self.positions_per_token,
            seen=None if self.masks_padding else on_device([query.shape[1]] * len(frames), states.device),
        )
        return encoded

    def as_scored(self, model: Any, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's queries and keys ``(windows, positions, heads * head_dim)``, as they enter the scores."""
        return query, key

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        if options.merge:
            check_merging(self.tower(model))

    def parts(self, model: Any) -> Parts:
        tower = self.tower(model)
        return Parts(
            encoder_begin=tower.conv1,
            encoder_end=getattr(tower, self.last_norm),
            last_attention=tower.layers[-1].self_attn,
            projector=model.model.multi_modal_projector,
            head=model.get_output_embeddings(),
        )

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        """The encoder's last hidden state, ``(windows, tokens, dim)``."""
        raise NotImplementedError

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.multi_modal_projector(features)  # type: ignore[no-any-return]
