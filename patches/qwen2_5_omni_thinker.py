"""Qwen2.5-Omni's thinker: several audios per prompt, each up to 5 minutes, read in blocks of two seconds.

The encoder takes the sound of all audios concatenated, without padding. Its positions attend to each other within a
block, and tokens are the output of ``ln_post``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..config.encoder_options import EncoderOptions
from ..models.audio_parts import AudioParts
from ..models.base import LANGUAGE_MODEL, EncodedWindows, Parts
from ..models.encoder.scores import READ, add_scores
from ..models.question import QWEN_CHAT
from ..models.windows import Windows
from ..ops.attention import recorded_outputs
from ..ops.device import on_device
from .omni.parts import OmniThinkerPatch


class Qwen25OmniThinkerPatch(OmniThinkerPatch):
    """`Qwen2_5OmniThinkerForConditionalGeneration`."""

    model_type = "qwen2_5_omni_thinker"
    model_classes = ("Qwen2_5OmniThinkerForConditionalGeneration",)
    processor_class = "Qwen2_5OmniProcessor"
    frame_rate = 25.0
    chat = QWEN_CHAT
    prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>{text}"
    # The model card demands it for speech. Written or spoken, the text is then the same.
    system = (
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
        "visual inputs, as well as generating text and speech."
    )
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": LANGUAGE_MODEL,
        "projector": r".*\.audio_tower\.proj",
        "audio_tower": r".*\.audio_tower\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    }

    def window_tokens(self, frames: int) -> int:
        return ((frames - 1) // 2 + 1) // 2

    def feature_dim(self, model: Any) -> int:
        return int(model.model.audio_tower.config.d_model)

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        if projector is not audio_tower.proj:
            raise ValueError(f"The projector of {self.model_type!r} is a part of its audio tower: pass its `proj`.")
        return AudioParts(audio_tower, projector)

    def encode(self, model: Any, windows: Windows, needs: frozenset[str], options: EncoderOptions) -> EncodedWindows:
        tower, layer = model.model.audio_tower, model.model.audio_tower.layers[-1].self_attn
        frames, mask = [max(1, n) for n in windows.frames], windows.mask.ne(0)  # type: ignore[union-attr]
        mask[[i for i, n in enumerate(windows.frames) if n == 0], 0] = True  # the encoder rejects empty audio
        sound, lengths = windows.features.transpose(1, 2)[mask].T, on_device(frames, windows.features.device)
        with (
            recorded_outputs(query=layer.q_proj, key=layer.k_proj) as recorded,
            recorded_outputs(False, states=tower.ln_post) as found,
        ):
            tower(sound, feature_lens=lengths, aftercnn_lens=(lengths - 1) // 2 + 1)
        encoded = EncodedWindows(_apart(found["states"], [self.window_tokens(n) for n in frames]))
        if needs & READ:
            counts = [(n - 1) // 2 + 1 for n in frames]
            query, key = (_apart(recorded[name], counts) for name in ("query", "key"))
            positions = on_device(counts, query.device)
            size = {"heads": layer.num_heads, "scale": layer.scaling, "block": tower.n_window}
            add_scores(encoded, needs & READ, query, key, positions, **size)
        return encoded

    def parts(self, model: Any) -> Parts:
        tower = model.model.audio_tower
        attention, head = tower.layers[-1].self_attn, model.get_output_embeddings()
        return Parts(tower.conv1, tower.ln_post, attention, tower.proj, head)

    def project(self, model: Any, features: Tensor) -> Tensor:
        return model.model.audio_tower.proj(features)  # type: ignore[no-any-return]


def _apart(row: Tensor, counts: list[int]) -> Tensor:
    """Split ``(all, dim)`` into padded ``(windows, width, dim)``."""
    return pad_sequence(list(row.split(counts)), batch_first=True)


PATCH = Qwen25OmniThinkerPatch()
