"""The base patch for the audio encoder of Qwen3-Omni and Qwen3-ASR.

Three two-dimensional convolutions, each with a stride of two, turn a chunk of 100 mel frames into 13 tokens, and the
remainder after the last whole chunk into what three halvings leave. The layers attend within blocks of whole chunks.
Audios of any length are packed one after another, so their tokens do not depend on padding.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...config.encoder_options import EncoderOptions
from ...models.base import LANGUAGE_MODEL, EncodedWindows, ModelPatch, Parts
from ...models.encoder.scores import READ, add_scores
from ...models.question import QWEN_CHAT, ChatTokens
from ...models.windows import Windows
from ...ops.attention import recorded_outputs
from ...ops.device import on_device

CHUNK = 100
"""Number of mel frames convolved together."""
CHUNK_TOKENS = 13
"""Number of tokens in a whole chunk."""


class Qwen3EncoderPatch(ModelPatch):
    """Encodes audios of any length, and computes attention and keys from the last layer's projections."""

    audio_spans_windows = False
    long_audio = "itself"
    cuts_longer = False
    frame_rate: ClassVar[float] = 13.0
    chat: ClassVar[ChatTokens | None] = QWEN_CHAT
    prompt = "<|audio_start|><|audio_pad|><|audio_end|>{text}"
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": LANGUAGE_MODEL,
        "projector": r".*\.(multi_modal_projector\.linear_|audio_tower\.proj)[12]",
        "audio_tower": r".*\.audio_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }

    def window_tokens(self, frames: int) -> int:
        chunks, rest = divmod(frames, CHUNK)
        return CHUNK_TOKENS * chunks + (rest + 7) // 8

    def feature_dim(self, model: Any) -> int:
        return int(model.model.audio_tower.config.hidden_size)

    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        tower, wanted = model.model.audio_tower, needs & READ
        layer = tower.layers[-1].self_attn
        watched = {"query": layer.q_proj, "key": layer.k_proj} if wanted else {}
        with recorded_outputs(False, states=tower.ln_post, **watched) as recorded:
            self.run_encoder(model, windows)
        counts = [self.window_tokens(n) for n in windows.frames]

        def of_windows(packed: Tensor) -> Tensor:
            return pad_sequence(packed.split(counts), batch_first=True)

        encoded = EncodedWindows(of_windows(recorded["states"]))
        if wanted:
            add_scores(
                encoded,
                wanted,
                of_windows(recorded["query"].detach()),
                of_windows(recorded["key"].detach()),
                on_device(counts, encoded.features.device),
                heads=layer.num_heads,
                scale=layer.scaling,
                per_token=1,
                block=tower.n_window_infer // CHUNK * CHUNK_TOKENS,
            )
        return encoded

    @abstractmethod
    def run_encoder(self, model: Any, windows: Windows) -> None:
        """Call the encoder; its last norm's output, ``(tokens of all windows, dim)``, is recorded as the result."""

    @abstractmethod
    def projector(self, model: Any) -> nn.Module:
        """The first module that reads the encoder's states."""

    def parts(self, model: Any) -> Parts:
        tower = model.model.audio_tower
        return Parts(
            encoder_begin=tower.conv2d1,
            encoder_end=tower.ln_post,
            last_attention=tower.layers[-1].self_attn,
            projector=self.projector(model),
            head=model.get_output_embeddings(),
        )
