"""Spoken answers of a task: how they are spoken, and a Whisper that writes them down again to be scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soxr
import torch
import transformers
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from ..hub.ids import MODEL_FILES, check_reachable
from ..inference.speech import Sound, Voice
from ..messages import did_you_mean
from ..reporting.environment import weights_digest
from .task import Task

WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Whisper's codes of languages written without spaces between words, whose BLEU counts characters."""


@dataclass(frozen=True)
class Speech:
    """How answers are spoken and written down again, for tasks such as ``s2st``.

    Args:
        asr_model: folder or Hub id of a Whisper.
        language: the language of the answers: a code or name of Whisper's, such as ``"en"`` or ``"english"``; kept as
            the code.
        speaker: name of the voice; None for the model's default.
        max_new_tokens: most tokens of speech in an answer; None for the model's own limit.

    Raises:
        ValueError: Whisper knows no such language.

    Example:
        >>> from hf_tokcomp.evaluation import Speech
        >>> Speech("openai/whisper-large-v3", "German").language
        'de'
    """

    asr_model: str
    language: str
    speaker: str | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        given = self.language.strip().lower()
        code = given if given in LANGUAGES else TO_LANGUAGE_CODE.get(given)
        if code is None:
            raise ValueError(
                f"Whisper knows no language {self.language!r}{did_you_mean(given, TO_LANGUAGE_CODE)} Give a code such "
                "as en, de or zh, or its English name."
            )
        object.__setattr__(self, "language", code)

    @property
    def voice(self) -> Voice:
        """How the model is to speak."""
        return Voice(self.speaker, self.max_new_tokens)

    def task(self, task: Task, spellings: Mapping[str, str]) -> Task:
        """A spoken task in this language: its prompt, its metrics and, where it has one, its corpus.

        Args:
            task: the task, whose prompts may contain ``{language}``.
            spellings: Whisper's list of English spellings.
        """
        name = LANGUAGES[self.language].title()
        tokenize = "char" if self.language in WITHOUT_SPACES else "13a"
        own: dict[str, dict[str, Any]] = {
            "asr_bleu": {"language": self.language, "spellings": dict(spellings), "tokenize": tokenize},
            "bleu": {"tokenize": tokenize},
        }
        return dataclasses.replace(
            task,
            prompts={model: prompt.replace("{language}", name) for model, prompt in task.prompts.items()},
            metric_options={**task.metric_options, **{key: own[key] for key in task.metrics if key in own}},
            make=None if task.make_in is None else task.make_in(self.language),
        )


class Transcriber:
    """A Whisper that writes down spoken answers, greedily, in one language.

    Only its configuration and processor are read at first, so that errors are found before anything large is loaded.

    Args:
        speech: names the model and the language.

    Raises:
        FileNotFoundError, OSError: there is no such model.
        ValueError: it is no Whisper, or does not know the language.
    """

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        name = speech.asr_model
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            name = str(Path(name).expanduser())
            if not Path(name).is_dir():
                raise FileNotFoundError(f"--asr-model {speech.asr_model}: there is no such folder.")
        else:
            check_reachable(name, MODEL_FILES)
        self._name = name
        auto: Any = transformers
        config = auto.AutoConfig.from_pretrained(name)
        if config.model_type != "whisper":
            raise ValueError(
                f"--asr-model {speech.asr_model} is a model of type {config.model_type!r}. ASR-BLEU is measured with a "
                "Whisper, such as openai/whisper-large-v3."
            )
        self._processor = auto.WhisperProcessor.from_pretrained(name)
        generation = auto.GenerationConfig.from_pretrained(name)
        self._options: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        if getattr(generation, "is_multilingual", False):
            known = {mark[2:-2] for mark in generation.lang_to_id}
            if speech.language not in known:
                raise ValueError(
                    f"--asr-model {speech.asr_model} does not know the language {speech.language!r}; it knows "
                    f"{', '.join(sorted(known))}."
                )
            self._options |= {"language": speech.language, "task": "transcribe"}
        elif speech.language != "en":
            raise ValueError(
                f"--asr-model {speech.asr_model} knows English only, and the answers are in {speech.language!r}: name "
                "a multilingual Whisper."
            )
        self._model: Any = None

    @property
    def spellings(self) -> dict[str, str]:
        """The list of English spellings that comes with the checkpoint; empty if none does."""
        return dict(self._processor.tokenizer.english_spelling_normalizer or {})

    def load(self, device: torch.device) -> None:
        """Load the model, unless it is loaded, in its own precision, or in float32 on the CPU."""
        if self._model is not None:
            return
        dtype: Any = torch.float32 if device.type == "cpu" else "auto"
        auto: Any = transformers
        self._model = auto.WhisperForConditionalGeneration.from_pretrained(self._name, dtype=dtype).to(device).eval()

    def settings(self) -> dict[str, Any]:
        """Everything that the transcripts depend on, to be published with the numbers; the model must be loaded."""
        name = Path(self._name)
        return {
            "asr_model": name.absolute().name if name.is_dir() else self._name,
            "asr_weights": weights_digest(self._model),
            "asr_decoding": "greedy",
            "language": self.speech.language,
            **dataclasses.asdict(self.speech.voice),
        }

    def transcribe(self, sounds: Sequence[Sound]) -> list[str]:
        """What is said, in order; "" where nothing is. The model must be loaded.

        What is longer than Whisper's window of 30 s goes through its own decoding of long audio, window after window.
        """
        found = [""] * len(sounds)
        extractor = self._processor.feature_extractor
        rate, window = extractor.sampling_rate, extractor.n_samples
        heard = {place: _resampled(sound, rate) for place, sound in enumerate(sounds) if len(sound.samples)}
        heard = {place: samples for place, samples in heard.items() if len(samples)}
        for long in (False, True):
            places = [place for place, samples in heard.items() if (len(samples) > window) == long]
            if not places:
                continue
            inputs = self._processor(
                [heard[place] for place in places],
                sampling_rate=rate,
                return_tensors="pt",
                return_attention_mask=True,
                **({"truncation": False, "padding": "longest"} if long else {}),
            ).to(self._model.device, self._model.dtype)
            timed = {"return_timestamps": True} if long else {}
            with torch.inference_mode():
                ids = self._model.generate(**inputs, **self._options, **timed)
            texts = self._processor.batch_decode(ids, skip_special_tokens=True)
            for place, text in zip(places, texts, strict=True):
                found[place] = text.strip()
        return found


def _resampled(sound: Sound, rate: int) -> Any:
    return sound.samples if sound.rate == rate else soxr.resample(sound.samples, sound.rate, rate)
