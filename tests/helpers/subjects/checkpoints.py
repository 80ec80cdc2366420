"""A tiny checkpoint of every model: a folder with weights and a processor, as users have them, made once a session.

Where a processor needs what the tests do not have (torchvision, torchaudio), it is the subject's, which goes without.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hf_tokcomp.models.registry import patch_for_class

from . import subject_of

TEMPLATE = (
    "{% for message in messages %}{{ 'USER' if message['role'] == 'user' else 'OTHER' }}CONTENT"
    "{{ '<eos>' if message['role'] == 'assistant' }}{% endfor %}{{ 'OTHER' if add_generation_prompt }}"
)
"""Turns begin with a mark; an assistant's ends with the end of text."""
MARKS = {"qwen3_omni_moe": ("<|im_start|> user ", "<|im_start|> assistant ")}
"""The marks of the user's turns and of all others, where the model goes by them."""
WORDS = ("b ", "c ")
"""These marks for all other models."""
TEXT = "{{ message['content'] + ' ' }}"
PARTS = (
    "{% for part in message['content'] %}{{ 'MARK ' if part['type'] == 'audio' else part['text'] + ' ' }}{% endfor %}"
)
TURNS_OF_TEXT = ("granite_speech",)
"""Models whose checkpoints have a template for turns of text."""
WHOLE = {"voxtral": 30}
"""Seconds of a window, where the processor pads to those of real checkpoints whatever it was made with."""


@cache
def folder_of(model_type: str) -> Path:
    """The folder; what takes a checkpoint's name takes it as well."""
    subject = subject_of(model_type)
    module = importlib.import_module(f"subjects.{model_type}")
    seconds = {"seconds": WHOLE[model_type]} if model_type in WHOLE else {}
    model = module.model(**seconds) if seconds else subject.make_model()
    processor = module.processor(**seconds) if seconds else subject.make_processor()
    folder = Path(mkdtemp()) / f"tiny-{model_type}"
    patch = patch_for_class(type(model))[1]
    model.save_pretrained(folder)
    patch.save_beside(model, folder)  # the voices of one that speaks
    if patch.reads_prompts and not patch.processor_calls:  # Voxtral's turns are written by mistral-common
        content = TEXT if model_type in TURNS_OF_TEXT else PARTS.replace("MARK", patch.prompt.replace("{text}", ""))
        user, other = MARKS.get(model_type, WORDS)
        processor.chat_template = TEMPLATE.replace("USER", user).replace("OTHER", other).replace("CONTENT", content)
    processor.save_pretrained(folder)
    return folder
