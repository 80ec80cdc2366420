"""Voxtral in vLLM, from either layout of its checkpoints: mistral's (`params.json`) or transformers' (`config.json`).

vLLM's own class takes the first only, and prompts that mistral-common wrote, with all of an audio's tokens. Here each
run of them is shortened, and windows are what the patched transformers model reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BatchFeature, VoxtralConfig, WhisperFeatureExtractor
from transformers.models.voxtral.modeling_voxtral import VoxtralEncoder, VoxtralMultiModalProjector
from transformers.models.whisper.modeling_whisper import sinusoids
from vllm.model_executor.models import voxtral as upstream
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import WeightsMapper, init_vllm_registered_model, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.processing.processor import PromptReplacement

from ...errors import UnsupportedModelError
from .model import NAMES, CompressedAudioModel
from .processing import AUDIO_TOKENS, BUDGET, WINDOWS, CompressedInfo, CompressedProcessor

ENCODER = r"^mm_(?:whisper_embeddings|streams_embeddings\.embedding_module)\."
MISTRAL_NAMES = WeightsMapper(
    orig_to_new_regex={
        re.compile(pattern): name
        for pattern, name in {
            ENCODER + r"whisper_encoder\.(?:transformer\.)?": "audio_tower.",
            ENCODER + r"audio_language_projection\.0\.": "multi_modal_projector.linear_1.",
            ENCODER + r"audio_language_projection\.2\.": "multi_modal_projector.linear_2.",
            ENCODER: "language_model.",
            r"^(?=(layers|norm|output)\.)": "language_model.",
            r"^audio_tower\.conv_layers\.0\.(conv\.)?": "audio_tower.conv1.",
            r"^audio_tower\.conv_layers\.1\.(conv\.)?": "audio_tower.conv2.",
            r"^audio_tower\.norm\.": "audio_tower.layer_norm.",
            r"^(audio_tower\..*)attention\.w([qkv])\.": r"\1self_attn.\2_proj.",
            r"^(audio_tower\..*)attention\.wo\.": r"\1self_attn.out_proj.",
            r"^(audio_tower\..*)attention_norm\.": r"\1self_attn_layer_norm.",
            r"^(audio_tower\..*)feed_forward\.w([12])\.": r"\1fc\2.",
            r"^(audio_tower\..*)ffn_norm\.": r"\1final_layer_norm.",
        }.items()
    }
)
"""From mistral's names of weights to transformers'; those of the language model are vLLM's to read."""
TOWER_POSITIONS = "audio_tower.embed_positions.weight"


def with_counts(prompt: Sequence[int], audio: int, counts: Sequence[int]) -> list[int]:
    """A prompt in which each run of audio tokens, however long, has its audio's count.

    Args:
        prompt: ids.
        audio: the audio token.
        counts: tokens of each audio, in order.

    Raises:
        ValueError: there are more runs than audios, or fewer.
    """
    runs = [list(run) for _, run in groupby(prompt, lambda token: token == audio)]
    found = sum(run[0] == audio for run in runs)
    if found != len(counts):
        raise ValueError(
            f"The prompt has audio tokens in {found} places, and there are {len(counts)} audios. Have mistral-common "
            "write the prompt, as vLLM's chat does, or the processor's apply_chat_template."
        )
    left = iter(counts)
    return [token for run in runs for token in ([audio] * next(left) if run[0] == audio else run)]


class Windows(upstream.MistralCommonFeatureExtractor):
    """Cuts audios into windows as transformers' processor does; upstream's only pads them."""

    def __init__(self, audio_encoder: Any) -> None:
        super().__init__(audio_encoder)
        audio = audio_encoder.audio_config
        self.chunk_length = int(audio.chunk_length_s)
        self.hop_length = audio.encoding_config.hop_length
        self.spectrogram = WhisperFeatureExtractor(
            feature_size=audio.encoding_config.num_mel_bins,
            sampling_rate=audio.sampling_rate,
            hop_length=self.hop_length,
            n_fft=audio.encoding_config.window_size,
            chunk_length=self.chunk_length,
        )

    def __call__(self, audios: Any, return_tensors: Any = None, **kwargs: Any) -> BatchFeature:
        """``input_features`` ``(windows, mel bins, frames)`` of all audios, and ``chunk_counts``, windows of each.

        Raises:
            ValueError: an audio has no samples.
        """
        read, windows = self.spectrogram, []
        for samples in super().__call__(audios)["audio_arrays"]:
            if not len(samples):
                raise ValueError("An audio without samples cannot be read.")
            # Cut afterwards: a spectrogram is relative to the loudest sound of the whole audio.
            options = {"sampling_rate": read.sampling_rate, "truncation": False, "return_tensors": "pt"}
            features = read(samples.numpy(), padding=True, **options)["input_features"][0]
            windows.append(torch.stack(features.split(read.nb_max_frames, -1)))
        counts = torch.tensor([len(each) for each in windows])
        return BatchFeature({"input_features": torch.cat(windows), WINDOWS: counts})


class Info(CompressedInfo, upstream.VoxtralProcessingInfo):
    """Counts after compression."""

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        if getattr(ctx.model_config.hf_config.audio_config, "is_causal", False):
            raise UnsupportedModelError(
                "This is Voxtral Realtime, whose encoder is another one: it is not served under compression. Leave out "
                "the compression, and vLLM serves it by its own architecture."
            )
        if ctx.get_mm_config().enable_mm_embeds:
            raise UnsupportedModelError("Voxtral in vLLM takes audio, and no embeddings: leave out enable_mm_embeds.")

    def get_feature_extractor(self) -> Windows:
        return self.extractor

    @cached_property
    def extractor(self) -> Windows:
        """One for all audios."""
        return Windows(self.get_tokenizer().instruct.audio_encoder)

    def longest_audio(self) -> float:
        """What the model is made for, or less where the context does not hold it, even compressed; in seconds."""
        patch, seconds, room = self.served.patch, self.extractor.chunk_length, self.ctx.model_config.max_model_len
        most = int(patch.longest_audio(None) // seconds)
        each = patch.window_tokens(self.extractor.spectrogram.nb_max_frames)
        return seconds * max((n for n in range(1, most + 1) if self.served.left_of(n * each) <= room), default=1)

    def get_max_audio_array_len(self) -> int:
        """Samples of the audio that vLLM measures memory with."""
        return int(self.longest_audio() * self.extractor.sampling_rate)


class Processor(CompressedProcessor, upstream.VoxtralMultiModalProcessor):
    """Shortens the runs of audio tokens in the prompt."""

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Any) -> Mapping[str, Any]:
        windows = hf_inputs.get(WINDOWS, torch.zeros(0, dtype=torch.long))  # none, where all audios are cached
        return {
            **super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs),
            "input_features": MultiModalFieldConfig.flat_from_sizes("audio", windows),
            WINDOWS: MultiModalFieldConfig.batched("audio", keep_on_cpu=True),
        }

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any) -> Any:
        audio = self.info.get_hf_processor().audio_token_id
        items = out_mm_kwargs.require_data().get("audio", [])

        def tokens_of(number: int) -> list[int]:
            return [audio] * int(items[number].get_data()[AUDIO_TOKENS])

        return [PromptReplacement(modality="audio", target=[], replacement=tokens_of)]

    def _maybe_apply_prompt_updates(self, mm_items: Any, mm_res: Any) -> Any:
        tokens = [each[0].content.full for each in mm_res.prompt_updates.get("audio", ())]
        short = with_counts(mm_res.prompt_ids, self.info.get_hf_processor().audio_token_id, list(map(len, tokens)))
        return super()._maybe_apply_prompt_updates(mm_items, mm_res._replace(prompt_ids=short))


def config_of_parts(config: Any, audio_token: int) -> VoxtralConfig:
    """transformers' config, of which tower and projector are made; from mistral's layout, as vLLM reads it."""
    if isinstance(config, VoxtralConfig):
        return config
    audio = config.audio_config
    return VoxtralConfig(
        audio_config={
            "model_type": "voxtral_encoder",
            "hidden_size": audio.d_model,
            "intermediate_size": audio.encoder_ffn_dim,
            "num_hidden_layers": audio.encoder_layers,
            "num_attention_heads": audio.encoder_attention_heads,
            "num_mel_bins": audio.num_mel_bins,
            "max_source_positions": audio.max_source_positions,
        },
        text_config={"model_type": "llama", "hidden_size": config.text_config.hidden_size},
        audio_token_id=audio_token,
    )


class WithoutTower(upstream.VoxtralForConditionalGeneration):
    """vLLM's Voxtral with nothing but its language model, so that the audio's part may be transformers'."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        nn.Module.__init__(self)
        model_config = vllm_config.model_config
        if vllm_config.quant_config is not None:
            vllm_config.quant_config = self.maybe_update_quant_config(vllm_config.quant_config)
        self.tokenizer = upstream.cached_tokenizer_from_config(model_config)
        text = model_config.hf_config.text_config
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=text,
                architectures=text.architectures or ["LlamaForCausalLM"],
                prefix=maybe_prefix(prefix, "language_model"),
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        audio_token = self.tokenizer.instruct.audio_encoder.audio_token
        self.config = config_of_parts(model_config.hf_config, audio_token)


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=upstream.VoxtralDummyInputsBuilder)
class HfTokcompVoxtralForConditionalGeneration(CompressedAudioModel, WithoutTower):
    """Voxtral with compressed audio."""

    hf_to_vllm_mapper = MISTRAL_NAMES | NAMES

    def _use_upstreams_tower(self) -> None:
        self.audio_tower = VoxtralEncoder(self.config.audio_config)
        self.multi_modal_projector = VoxtralMultiModalProjector(self.config)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are the language model, the projector and the tower."""
        return MultiModelKeys.from_string_field(
            language_model="language_model.", connector="multi_modal_projector.", tower_model="audio_tower."
        )

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """The compressed audio of a batch of requests."""
        features = kwargs.get("input_features")
        if features is None:
            return None
        return self.compressed(features, None, kwargs[WINDOWS].tolist(), budgets=kwargs[BUDGET])

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load a checkpoint of either layout; mistral's leaves out the tower's positions, which are sinusoids."""
        loaded = super().load_weights(weights)
        positions = dict(self.named_parameters()).get(TOWER_POSITIONS)
        if positions is not None and TOWER_POSITIONS not in loaded:
            positions.data.copy_(sinusoids(*positions.shape))
            loaded.add(TOWER_POSITIONS)
        return loaded
