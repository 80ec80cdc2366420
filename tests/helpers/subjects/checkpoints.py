"""A tiny checkpoint of every model: a folder with weights and a processor, as users have them, made once a session."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hf_tokcomp.models.registry import patch_for_class

TEMPLATE = (
    "{% for message in messages %}{{ 'b ' if message['role'] == 'user' else 'c ' }}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}"
    "{% else %}{% for part in message['content'] %}"
    "{{ 'MARK ' if part['type'] == 'audio' else part['text'] + ' ' }}{% endfor %}{% endif %}"
    "{{ '<eos>' if message['role'] == 'assistant' }}{% endfor %}{{ 'c ' if add_generation_prompt }}"
)
"""Turns begin with a word; an assistant's ends with the end of text."""
MARKS = {
    "voxtral": None,  # mistral-common's code is its template
    "qwen2_5_omni": "<|audio_bos|><|AUDIO|><|audio_eos|>",
    "qwen2_5_omni_thinker": "<|audio_bos|><|AUDIO|><|audio_eos|>",
    "qwen3_omni_moe_thinker": "<|audio_start|><|audio_pad|><|audio_end|>",
    "qwen3_asr": "<|audio_start|><|audio_pad|><|audio_end|>",
    "musicflamingo": "<sound>",
    "glmasr": "<|pad|>",
    "granite_speech": "<|audio|>",
}
"""What the template writes for an audio, by model type."""
WHOLE = {"voxtral": 30}
"""Seconds of a window, of a model whose processor pads to those of its checkpoints."""


@cache
def folder_of(model_type: str) -> Path:
    """The folder; what needs the processor and model of a checkpoint on the Hub takes it in its place."""
    module = importlib.import_module(f"subjects.{model_type}")
    folder = Path(mkdtemp()) / f"tiny-{model_type}"
    if model_type in WHOLE:
        model, processor = module.model(WHOLE[model_type]), module.processor(WHOLE[model_type])
    else:
        model, processor = module.SUBJECT.make_model(), module.SUBJECT.make_processor()
    model.save_pretrained(folder)
    patch_for_class(type(model))[1].save_beside(model, folder)  # the voices of one that speaks
    if MARKS[model_type] is not None:
        processor.chat_template = TEMPLATE.replace("MARK", str(MARKS[model_type]))
    processor.save_pretrained(folder)
    return folder
