"""What tiny models are made of: a tokenizer of words, a small language model, weights that make a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoProcessor, PreTrainedTokenizerFast, ProcessorMixin

WORDS = ("what", "is", "this", "please", "tell", "me", "now", "a", "b", "c", "d", "e", "f", "g")
BASIC = ("<pad>", "<unk>", "<eos>")
TELLING = ("language_model", "projector", "lm_head")


def tokenizer(marks: Sequence[str], words: Sequence[str] = WORDS, **named: str) -> Any:
    """Of words; ids are `BASIC`, the marks, which are special, and the words, in this order.

    Args:
        marks: special tokens.
        words: all others.
        named: special tokens that the processor asks the tokenizer for by name, such as ``audio_token``.
    """
    raw = Tokenizer(WordLevel({word: i for i, word in enumerate([*BASIC, *marks, *words])}, unk_token="<unk>"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        padding_side="left",
        **{"extra_special_tokens": named} if named else {"additional_special_tokens": list(marks)},
    )


class Hearing(ProcessorMixin):
    """To mix into a processor of an Omni model: without what reads images and videos, for which torchvision is needed.

    It is saved and loaded like any processor, also by `AutoProcessor`, which knows the classes that were `registered`.
    """

    KINDS = ("audio_token", "audio_bos_token", "audio_eos_token", "image_token", "video_token")

    def __init__(self, feature_extractor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        for kind in self.KINDS:
            setattr(self, kind, getattr(tokenizer, kind))
            setattr(self, f"{kind}_id", getattr(tokenizer, f"{kind}_id"))


def registered(config_class: Any) -> Callable[[type], type]:
    """Let `AutoProcessor` find a class of processors that is not upstream's."""

    def register(processor_class: type) -> type:
        AutoProcessor.register(config_class, processor_class, exist_ok=True)
        return processor_class

    return register


def text_config(vocabulary: int, model_type: str = "qwen2", **others: Any) -> dict[str, Any]:
    """Of a language model with two layers of width 32."""
    return {
        "model_type": model_type,
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
        "max_position_embeddings": 40000,
        **others,
    }


def made_telling(model: Any, marks: int, names: Sequence[str] = TELLING) -> Any:
    """The model in evaluation mode, with larger weights where the audio goes through, never saying a special token.

    Random projections as small as upstream's make every next token the same.

    Args:
        model: the model.
        marks: ids below which all are special.
        names: parts of the names of the weights that are drawn anew, norms and biases left out.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2 and any(part in name for part in names):
                parameter.normal_(0, 0.25)
        model.get_output_embeddings().weight[:marks] = 0
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.eval()
