"""From an instruction to a whole prompt, and from prompts and samples to what the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .audio import Samples
from .model_patch import ModelPatch


def whole_prompt(processor: Any, patch: ModelPatch, instruction: str) -> str:
    """The whole prompt for one recording: through the processor's chat template where there is one.

    An instruction that has the audio placeholder in it is a whole prompt already and comes back as it is.

    Raises:
        ValueError: the chat template does not write the placeholder exactly once.
    """
    placeholder = processor.audio_token
    if placeholder in instruction:
        return instruction
    if getattr(processor, "chat_template", None) is None:
        return patch.prompt.replace("{text}", instruction)
    content = [{"type": "audio"}, {"type": "text", "text": instruction}]
    if patch.prompt.startswith("{text}"):
        content.reverse()
    conversation = [{"role": "user", "content": content}]
    text: str = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    if text.count(placeholder) != 1:
        raise ValueError(
            f"The chat template wrote {text.count(placeholder)} times {placeholder} for one recording; "
            f"give the whole prompt with {placeholder} in it."
        )
    return text


def model_inputs(processor: Any, prompts: Sequence[str], samples: Sequence[Samples], rate: int) -> Any:
    """What the processor makes of whole prompts with one recording each, padded on the left.

    Args:
        processor: the model's processor.
        prompts: one per recording.
        samples: ``(samples,)`` mono each.
        rate: samples per second.
    """
    return processor(
        text=list(prompts),
        audio=list(samples),
        sampling_rate=rate,
        return_tensors="pt",
        # For the text alone: at the top level it would also cut Audio Flamingo 3's windows short of a whole one,
        # which its encoder refuses.
        text_kwargs={"padding": True, "padding_side": "left"},
    )
