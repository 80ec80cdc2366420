"""Questions: full prompts with their recordings, built from the input of an lmms-eval task."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..audio.loading import Samples, load_audio
from ..inference.prompts import whole_prompt
from ..models.base import ModelPatch
from ..patching.long_audio import longest_read

logger = logging.getLogger(__name__)

SYSTEM_TURN = re.compile(r"\A<\|im_start\|>system\n.*?<\|im_end\|>\n", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """A full prompt, and the samples ``(samples,)`` of each recording in it."""

    prompt: str
    samples: list[Samples]


class Questions:
    """Builds questions.

    Args:
        processor: the model's processor; its chat template is removed for simple prompts.
        patch: the model's patch.
        add_system_prompt: if False, omit the system turn that the chat template may add.
        simple_prompt: if True, do not use the chat template.
    """

    def __init__(self, processor: Any, patch: ModelPatch, add_system_prompt: bool, simple_prompt: bool) -> None:
        self.processor = processor
        self.patch = patch
        self.add_system_prompt = add_system_prompt
        self.rate = patch.sampling_rate(processor)
        self.longest = longest_read(patch, processor)
        if simple_prompt:
            processor.chat_template = processor.tokenizer.chat_template = None

    def ask(self, context: str, audios: Sequence[Any] | None) -> Question:
        """The question for one document.

        Args:
            context: the question of the task, or the whole prompt if it contains the audio placeholder.
            audios: recordings, each in any form that `load_audio` takes.

        Raises:
            ValueError: there is no recording, there are more than the model accepts, or one is too short.
            TypeError: an item is not audio.
        """
        if not audios:
            raise ValueError("The document has no recording, and these models need one.")
        if not self.patch.several_audios and len(audios) > 1:
            raise ValueError(f"The document has {len(audios)} recordings, and this model takes one per prompt.")
        samples = [piece for audio in audios for piece in self._pieces(load_audio(audio, self.rate))]
        prompt = whole_prompt(self.processor, self.patch, context, len(samples))
        return Question(prompt if self.add_system_prompt else SYSTEM_TURN.sub("", prompt), samples)

    def _pieces(self, samples: Samples) -> list[Samples]:
        """A recording in the form the model accepts.

        A longer recording is read whole under ``long_audio="windows"``. Otherwise it is split into pieces, as in
        lmms-eval's own wrapper, if they can all be in the prompt, each in a window of its own; else it is truncated,
        unless the processor reads on.
        """
        if not self._enough(samples):
            raise ValueError(f"A recording of {len(samples) / self.rate:.3f} s makes fewer than two audio tokens.")
        if math.isinf(self.longest):
            return [samples]
        window = int(self.longest * self.rate)
        if len(samples) > window and (self.patch.audio_spans_windows or not self.patch.several_audios):
            read = "only its first %g s are read" if self.patch.cuts_longer else "the model was made for at most %g s"
            logger.warning("A recording of %.1f s is too long: " + read + ".", len(samples) / self.rate, self.longest)
            return [samples[:window] if self.patch.cuts_longer else samples]
        pieces = [samples[start : start + window] for start in range(0, len(samples), window)]
        return [piece for piece in pieces if self._enough(piece)]

    def _enough(self, samples: Samples) -> bool:
        # With a single token, upstream's Qwen2-Audio takes its legacy branch, which fails.
        return self.patch.window_tokens(self.patch.mel_frames(self.processor, len(samples))) >= 2
