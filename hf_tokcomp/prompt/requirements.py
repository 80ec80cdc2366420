"""Method inputs from the language model's side: the question's words, the projected tokens and the first layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ..errors import CompressionConfigError
from ..models.base import ModelPatch
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device

FROM_LANGUAGE_MODEL = frozenset({"projected", "query", "first_layer"})
FROM_PROMPT = frozenset({"query", "first_layer"})
"""Those that projector and audio alone cannot give: the question, and what it is compared with."""


def add_language_model_side(
    tokens: AudioTokens,
    needs: frozenset[str],
    model: Any,
    patch: ModelPatch,
    text: tuple[Tensor, Tensor | None] | None,
    rows: list[int],
) -> AudioTokens:
    """Add those of `FROM_LANGUAGE_MODEL` that a method needs to the audios, without gradients.

    Args:
        tokens: the audios.
        needs: the inputs that the method needs.
        model: the model.
        patch: its `ModelPatch`.
        text: ids ``(batch, prompt)``, and their attention mask or None; None if the method does not need the question.
        rows: index of each audio's prompt.

    Raises:
        CompressionConfigError: the method needs the question, and there is no text.
    """
    if text is None and needs & FROM_PROMPT:
        raise CompressionConfigError(
            "This method goes by the user's question, which is not known where the audio is compressed. Use a method "
            "or options that go by the audio alone; the column `needs` of `hf-tokcomp methods` says which do."
        )
    values: dict[str, Any] = {}
    device = tokens.features.device  # projector and language model may be on other devices
    with torch.no_grad():
        if "projected" in needs:
            values["projected"] = patch.project(model, tokens.features).to(device)
        if "query" in needs and text is not None:
            words, lengths = _questions(model, patch, *text, rows)
            values["query"], values["query_lengths"] = words.to(device), lengths.to(device)
        if "first_layer" in needs:
            values["first_layer"] = patch.first_layer(model)
    return dataclasses.replace(tokens, **values) if values else tokens


def _questions(
    model: Any, patch: ModelPatch, ids: Tensor, mask: Tensor | None, rows: list[int]
) -> tuple[Tensor, Tensor]:
    """The embedded question of each audio ``(audios, words, hidden)`` and its number of words ``(audios,)``."""
    text = patch.question(model, ids, mask)
    lengths = text.sum(1)
    # Move the text's columns to the front, in order.
    order = (~text).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(lengths.max())]
    # A placeholder need not be in the vocabulary; id 0 is embedded in its place, as padding.
    words = model.get_input_embeddings()(ids.masked_fill(~text, 0).gather(1, order))
    index = on_device(rows, ids.device)
    return words[index.to(words.device)], lengths[index]
