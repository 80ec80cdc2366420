"""Tokenizers for captions: the Penn Treebank tokenizer of COCO's evaluation, or a simple approximation."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

Tokenizer = Literal["auto", "ptb", "simple"]

# Words may contain hyphens, points and commas ("high-pitched", "3.5"); any other visible character is its own token.
_TOKEN = re.compile(r"\.{2,}|-{2,}|\w+(?:[-.,/]\w+)*(?:'\w+)?|'\w+|\S")
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))\b")
_REMOVED = {"''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"}


def coco(module: str) -> Any:
    """A module of pycocoevalcap, such as "cider.cider_scorer".

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(f"pycocoevalcap.{module}")
    except ImportError as error:
        raise ImportError(
            'Metrics of captions need pycocoevalcap. Install it with: pip install "hf-tokcomp[eval]"'
        ) from error


def choose(tokenizer: Tokenizer) -> Literal["ptb", "simple"]:
    """Resolve the tokenizer: for "auto", the Penn Treebank one if there is a ``java`` to run it.

    Raises:
        ValueError: there is no such tokenizer, or "ptb" without a ``java`` on the PATH.
    """
    if tokenizer not in ("auto", "ptb", "simple"):
        raise ValueError(f"There is no tokenizer {tokenizer!r} of captions. Use one of: auto, ptb, simple.")
    java = shutil.which("java") is not None
    if tokenizer == "ptb" and not java:
        raise ValueError('The Penn Treebank tokenizer needs java on the PATH. Install a JRE, or use "simple".')
    return "ptb" if tokenizer == "ptb" or (tokenizer == "auto" and java) else "simple"


def simple(text: str) -> str:
    """The words of a caption joined by spaces: lower-cased, clitics separated ("dog 's"), without the punctuation that
    COCO's evaluation removes. For ordinary captions, the result equals that of the Penn Treebank tokenizer."""
    words = _TOKEN.findall(_CLITIC.sub(r" \1", text.lower()))
    return " ".join(word for word in words if word not in _REMOVED)


def penn_treebank(texts: Sequence[str]) -> list[str]:
    """The words of captions joined by spaces, as in COCO's evaluation: by Stanford's tokenizer in Java.

    pycocoevalcap's own wrapper writes a file into the package folder, which may be read-only, and does not detect when
    Java fails; here the same jar reads from a pipe.

    Raises:
        ImportError: pycocoevalcap is not installed.
        RuntimeError: Java failed, or did not return one line for each text.
    """
    wrapper = coco("tokenizer.ptbtokenizer")
    jar = Path(wrapper.__file__).with_name(wrapper.STANFORD_CORENLP_3_4_1_JAR)
    lines = [" ".join(text.split()) for text in texts]  # removes anything Java may treat as a line break
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run(
        [*command, "-encoding", "UTF-8"],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    found = done.stdout.split("\n")[:-1] if done.returncode == 0 else []
    if len(found) != len(lines):
        raise RuntimeError(
            f"The Penn Treebank tokenizer failed: java answered {done.returncode}, with {len(found)} lines for "
            f'{len(lines)}. Try another java, or tokenizer="simple". It said: {done.stderr.strip()[-500:]}'
        )
    removed = set(wrapper.PUNCTUATIONS)
    return [" ".join(word for word in line.split(" ") if word not in removed).strip() for line in found]
