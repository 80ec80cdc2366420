"""Build complete prompts from instructions, and model inputs from prompts and audio samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..audio.loading import Samples
from ..errors import UnsupportedModelError
from ..messages import shortened
from ..models.base import ModelPatch
from ..models.registry import patch_for_processor


@dataclass(frozen=True)
class Prompts:
    """Complete prompts with their recordings.

    Args:
        texts: one per row.
        samples: the recordings of all rows in order, mono, each of shape ``(samples,)``.
        audios_per_row: number of recordings in each row.
    """

    texts: list[str]
    samples: list[Samples]
    audios_per_row: list[int]

    @classmethod
    def joined(cls, several: Iterable[Prompts]) -> Prompts:
        """Concatenate several batches of prompts."""
        listed = list(several)
        return cls(
            [text for one in listed for text in one.texts],
            [samples for one in listed for samples in one.samples],
            [count for one in listed for count in one.audios_per_row],
        )


def whole_prompt(processor: Any, patch: ModelPatch, instruction: str, audios: int = 1) -> str:
    """Build the complete prompt for one or more recordings, with the processor's chat template if there is one.

    An instruction that contains the audio placeholder is already a complete prompt and is returned unchanged. For a
    model that reads no prompt, it is empty.

    Raises:
        UnsupportedModelError: the model reads no prompt, and there is an instruction.
        ValueError: the prompt does not contain exactly one placeholder per recording.
    """
    if not patch.reads_prompts:
        check_reads(patch, instruction)
        return ""
    placeholder = processor.audio_token
    if placeholder in instruction:
        _check_placeholders("The prompt has", instruction, placeholder, audios)
        return instruction
    template = _template(processor, patch)
    if template is None:
        return _plain(patch, placeholder, instruction, audios)
    turns = _conversation(patch, placeholder, instruction, audios)
    text = template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    _check_placeholders("The chat template wrote", text, placeholder, audios)
    return str(text)


def check_reads(patch: ModelPatch, instruction: str | None) -> None:
    """Raise if there is an instruction for a model that reads none.

    Raises:
        UnsupportedModelError: it reads none.
    """
    if not patch.reads_prompts and instruction and instruction.strip():
        raise UnsupportedModelError(
            f"{patch.model_type!r} transcribes what it hears and reads no prompt; leave out {shortened(instruction)!r}."
        )


def whole_answer(processor: Any, patch: ModelPatch, instruction: str, answer: str, audios: int = 1) -> str:
    """The text that follows `whole_prompt` for a given answer, including the end marker.

    With a chat template, it is the assistant turn as the template writes it. A plain prompt is followed by a space, the
    answer and the tokenizer's end-of-text token (our choice; the papers do not specify it).
    """
    prompt = whole_prompt(processor, patch, instruction, audios)
    end: str = processor.tokenizer.eos_token or ""
    template = _template(processor, patch)
    if processor.audio_token in instruction or template is None:
        return f"{answer}{end}" if prompt[-1:].isspace() else f" {answer}{end}"
    content = answer if patch.turns_are_text else [{"type": "text", "text": answer}]
    turns = [
        *_conversation(patch, processor.audio_token, instruction, audios),
        {"role": "assistant", "content": content},
    ]
    whole = template.apply_chat_template(turns, tokenize=False)
    following = whole.removeprefix(prompt).rstrip() if whole.startswith(prompt) else ""
    return following if following.startswith(answer) and following != answer else f"{answer}{end}"


def _template(processor: Any, patch: ModelPatch) -> Any:
    """The processor or its tokenizer, whichever has the chat template for the model's turns; None if there is none."""
    holder = processor.tokenizer if patch.turns_are_text else processor
    return None if getattr(holder, "chat_template", None) is None else holder


def _plain(patch: ModelPatch, placeholder: str, instruction: str, audios: int) -> str:
    before, _, after = patch.prompt.partition("{text}")
    whole = before * (audios if placeholder in before else 1) + instruction
    return whole + after * (audios if placeholder in after else 1)


def _conversation(patch: ModelPatch, placeholder: str, instruction: str, audios: int) -> list[dict[str, Any]]:
    """The user's turn, after the system prompt if the model has one."""
    system = [] if patch.system is None else [_turn(patch, "system", patch.system)]
    if patch.turns_are_text:
        return [*system, _turn(patch, "user", _plain(patch, placeholder, instruction, audios))]
    content = [*({"type": "audio"} for _ in range(audios)), {"type": "text", "text": instruction}]
    if patch.prompt.startswith("{text}"):
        content.reverse()
    return [*system, {"role": "user", "content": content}]


def _turn(patch: ModelPatch, role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text if patch.turns_are_text else [{"type": "text", "text": text}]}


def _check_placeholders(who: str, text: str, placeholder: str, audios: int) -> None:
    found = text.count(placeholder)
    if found != audios:
        raise ValueError(
            f"{who} {found} times {placeholder} and there are {audios} recordings: give the whole prompt, with "
            f"{placeholder} in it once for each."
        )


def model_inputs(
    processor: Any,
    prompts: Sequence[str],
    samples: Sequence[Samples],
    rate: int,
    padding_side: Literal["left", "right"] = "left",
) -> Any:
    """Run the processor on complete prompts and their recordings.

    Args:
        processor: the model's processor.
        prompts: the prompts.
        samples: the recordings of all prompts in order, mono, each of shape ``(samples,)``.
        rate: sampling rate in Hz.
        padding_side: ``"left"`` for generation, ``"right"`` for training.
    """
    return patch_for_processor(processor)[1].process(processor, prompts, samples, rate, padding_side)
