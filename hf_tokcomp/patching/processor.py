"""Patching a processor to write as many placeholders as the compressed audio will have.

The processor's own code makes the features and the prompt. The placeholders that each audio will lose are then removed,
and everything else that upstream writes stays, such as marks before and after an audio. With ``long_audio="windows"``,
that code gets the windows of a long audio as so many audios, and their placeholders are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor

from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY
from ..models.announced import PLACEHOLDERS, WINDOWS
from ..models.base import ModelPatch
from ..models.instance import HeldFunction, original, patch_of, replace, restore, state_of
from ..prompt.layout import match_audios
from ..prompt.shorten import runs_of
from .extractor import return_mask
from .windows import warn_of_cut, windows_of_samples


def patch_processor(processor: Any, patch_module: str, patch: ModelPatch, config: CompressionConfig) -> None:
    """Replace the methods that make a prompt with audio on this processor instance.

    Where no prompt holds the audio, the processor returns the mask of the features, which says where the sound ends.
    """
    functions: dict[str, Callable[..., Any]] = {name: ShortCall(name) for name in patch.processor_calls}
    if not patch.reads_prompts:
        return_mask(getattr(processor, patch.extractor), not config.is_upstream)
    elif not functions:
        functions = {"_process_audio": short_audio}
    replace(processor, patch_module, functions, {CONFIG_KEY: config}, HeldFunction)


def restore_processor(processor: Any) -> None:
    """Undo `patch_processor`."""
    state = state_of(processor)
    if state is not None and not state.patch.reads_prompts:
        return_mask(getattr(processor, state.patch.extractor), False)
    restore(processor)


def short_audio(processor: Any, audio: Any, **kwargs: Any) -> tuple[Any, list[str]]:
    """The features, and the text that replaces each audio, with the placeholders left after compression.

    The number of placeholders written for each audio is added to the features, which tells the model that the prompt is
    shortened rather than truncated. Where audio spans windows, the number of windows of each audio is added too: from
    the remaining placeholders alone, the model could not always tell which windows belong together.
    """
    config: CompressionConfig = processor.compression_config
    patch, token, windows = patch_of(processor), processor.audio_token, None
    if config.long_audio == "windows":
        parts = [windows_of_samples(processor, patch, samples) for samples in audio]
        windows, audio = [len(part) for part in parts], [window for part in parts for window in part]
    elif patch.long_audio == "windows":
        warn_of_cut(processor, patch, audio)
    features, texts = original(processor, "_process_audio")(audio, **kwargs)
    if config.is_upstream or not texts:
        return features, texts
    if windows is not None:
        rest = iter(texts)
        texts = ["".join(islice(rest, number)) for number in windows]
    counts = [text.count(token) for text in texts]
    short = [left_of(config, n, patch.frame_rate) for n in counts]
    features.update(_announced(patch, features, counts, short, windows))
    return features, [_shortened(*each, token) for each in zip(texts, counts, short, strict=True)]


def left_of(config: CompressionConfig, tokens: int, frame_rate: float) -> int:
    """The placeholders written for an audio of so many tokens: all of them if only its content says how many stay."""
    return config.output_length(tokens, frame_rate) if config.deterministic_length else tokens


def _shortened(text: str, count: int, left: int, token: str) -> str:
    """Remove placeholders from a text, in which they must be consecutive."""
    before, run, after = text.partition(token * count)
    if not run:
        raise ValueError(
            f"The processor puts something between the placeholders of one audio ({text[:60]!r}...), which a shorter "
            "prompt would lose. Patch the model alone."
        )
    return before + token * left + after


@dataclass(frozen=True)
class ShortCall:
    """Replaces a processor method that returns a whole prompt as ids.

    Args:
        name: the method's name.
    """

    name: str

    def __call__(self, processor: Any, *args: Any, **kwargs: Any) -> Any:
        """Upstream's output, with fewer placeholders if it is a batch of ids with features."""
        result = original(processor, self.name)(*args, **kwargs)
        config, patch = processor.compression_config, patch_of(processor)
        if config.is_upstream or not isinstance(result, MutableMapping) or result.get(patch.features) is None:
            return result
        ids = result["input_ids"]
        is_audio = ids == processor.audio_token_id
        runs = runs_of(is_audio)
        counts = [end - begin for _, begin, end in runs]
        short = [left_of(config, n, patch.frame_rate) for n in counts]
        kept = torch.ones_like(is_audio)
        for (row, begin, end), left in zip(runs, short, strict=True):
            kept[row, begin + left : end] = False
        mask = result.get("attention_mask")
        kept &= torch.ones_like(kept) if mask is None else mask.bool()
        pad_left = mask is not None and bool((mask[:, 0] == 0).any())
        changed = {
            name: _picked(value, kept, pad_left, processor.tokenizer.pad_token_id if name == "input_ids" else 0)
            for name, value in result.items()
            if isinstance(value, Tensor) and value.shape == ids.shape
        }
        result.update(changed | _announced(patch, result, counts, short, None))
        return result


def _picked(values: Tensor, kept: Tensor, pad_left: bool, fill: int) -> Tensor:
    """Select the kept columns: ``(batch, prompt)`` to ``(batch, short)``."""
    rows = [row[keep] for row, keep in zip(values, kept, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, True, fill, "left" if pad_left else "right")


def _announced(
    patch: ModelPatch, features: Mapping[str, Any], counts: list[int], short: list[int], windows: list[int] | None
) -> dict[str, Any]:
    """What the model must know besides features and prompt, from each audio's token counts before and after.

    ``windows`` is the number of windows of each audio, if it was decided here.
    """
    said = {PLACEHOLDERS: torch.tensor(short)}
    if windows is None and patch.audio_spans_windows:
        windows = _windows(patch, features, counts)
    return said if windows is None else said | {WINDOWS: torch.tensor(windows)}


def _windows(patch: ModelPatch, features: Mapping[str, Any], counts: list[int]) -> list[int]:
    """Number of windows of each audio, from the features and each audio's token count."""
    audio = patch.audio_inputs(features)
    if audio.windows is not None:
        return audio.windows
    frames = [int(n) for n in audio.frames]
    tokens = [patch.window_tokens(n) for n in frames]
    layout = match_audios(counts, tokens, None, window_is_full=[n == audio.full for n in frames])
    bounds = [0, *layout.first_window[1:], len(frames)]
    return [end - start for start, end in pairwise(bounds)]
