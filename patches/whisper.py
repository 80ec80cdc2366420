"""Whisper: windows of 30 s; the decoder attends to the encoder's output, 50 tokens per second.

The encoder hears its window to the end and masks no padding, as it was trained. The decoder ends a text where it reads
that the sound has ended, so some of the padding behind the sound is left to it: `padding_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..config.encoder_options import EncoderOptions
from ..models.base import ModelPatch, Parts
from ..models.cross_attending import CrossAttendingPatch
from .whisper_encoder.encoder import WhisperEncoderPatch

LINEAR = r"(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


class WhisperPatch(CrossAttendingPatch, WhisperEncoderPatch):
    """`WhisperForConditionalGeneration`."""

    model_type = "whisper"
    model_classes = ("WhisperForConditionalGeneration",)
    auto_classes = ("AutoModelForSpeechSeq2Seq",)
    processor_class = "WhisperProcessor"
    frame_rate = 50.0
    positions_per_token = 1
    masks_padding = False
    long_audio = "itself"  # by its `generate`; the processor cuts it off unless told not to
    padding_seconds = 1.0
    chat = None
    # What maps encoder space to the decoder's are the keys and values of its cross-attention.
    lora_targets: ClassVar[dict[str, str]] = {
        "language_model": rf".*\.decoder\..*\.{LINEAR}",
        "projector": r".*\.decoder\..*\.encoder_attn\.(k_proj|v_proj)",
        "audio_tower": rf".*\.encoder\..*\.{LINEAR}",
    }

    def tower(self, model: Any) -> Any:
        return model.model.encoder

    encoder = tower

    def cross_attentions(self, model: Any) -> list[nn.Module]:
        return [layer.encoder_attn for layer in model.model.decoder.layers]

    def bins(self, model: Any) -> int:
        return int(model.config.num_mel_bins)

    def full_frames(self, model: Any) -> int:
        return self.window_frames(model)

    def language_model(self, model: Any) -> Any:
        return model.model.decoder

    def augmented(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        return model.model._mask_input_features(features, attention_mask=mask)  # type: ignore[no-any-return]

    def check_call(self, model: Any, call: Mapping[str, Any]) -> None:
        width, wanted = call[self.features].shape[-1], self.window_frames(model)
        if width != wanted:
            raise ValueError(
                f"The features have {width} frames, and this model's encoder takes windows of {wanted}: leave "
                "`padding` and `truncation` of the processor as they are, or use `generate`, which reads long audio."
            )

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        from ..models.instance import original  # imports transformers, which a list of the models goes without

        tower = self.tower(model)
        features = features.to(tower.conv1.weight.device, tower.conv1.weight.dtype)
        return original(tower, "forward")(features).last_hidden_state  # type: ignore[no-any-return]

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        ModelPatch.check_encoder(self, model, options)

    def parts(self, model: Any) -> Parts:
        tower, first = self.tower(model), self.cross_attentions(model)[0]
        return Parts(
            encoder_begin=tower.conv1,
            encoder_end=tower.layer_norm,
            last_attention=tower.layers[-1].self_attn,
            projector=first.k_proj,  # type: ignore[arg-type]
            head=model.get_output_embeddings(),
        )

    def process(
        self, processor: Any, prompts: Sequence[str], samples: Sequence[Any], rate: int, padding_side: str = "left"
    ) -> Any:
        return processor(list(samples), sampling_rate=rate, return_tensors="pt", return_attention_mask=True)


PATCH = WhisperPatch()
