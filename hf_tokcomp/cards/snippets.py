"""The code snippet on a card: how to load the contents of the repository and run a prompt."""

from __future__ import annotations

import json
import re

from ..hub.ids import is_hub_id
from ..models.registry import PATCHES, load_patch

LOAD = {
    "config": """
model = {model_class}.from_pretrained(
    {base}, compression={config}, device_map="auto"
)
processor = AutoProcessor.from_pretrained({base})
""",
    "model": """
model = {model_class}.from_pretrained({repo}, device_map="auto")
processor = AutoProcessor.from_pretrained({processor})
""",
    "adapter": """
model = hf_tokcomp.load_adapter({repo}, {named}device_map="auto")
processor = AutoProcessor.from_pretrained({processor})
""",
    "adapter of a revision": """
model = {model_class}.from_pretrained(
    {base}, compression={config}, device_map="auto"
)
model.load_adapter({repo})
processor = AutoProcessor.from_pretrained({processor})
""",
}

PATCH_PROCESSOR = "hf_tokcomp.patch(processor, hf_tokcomp.active_config(model))  # reads long audio in windows\n"

QUESTION = "What is being said?"
"""The default question."""
ASK = """
content = [{"type": "audio", "path": "question.wav"}, {"type": "text", "text": {prompt}}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}],
    tokenize=True,
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
).to(model.device)
"""
ASK_WHOLE = """
rate = processor.feature_extractor.sampling_rate
prompt = {prompt}
samples = hf_tokcomp.audio.load_audio("question.wav", rate)
inputs = processor(text=[prompt], audio=[samples], sampling_rate=rate, return_tensors="pt").to(model.device)
"""
"""For a prompt that contains the audio placeholder."""
ANSWER = """
output = model.generate(**inputs, max_new_tokens=64)
print(processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
"""


def snippet(
    kind: str,
    repo_id: str,
    revision: str | None,
    model_class: str,
    base_model: str,
    base_revision: str | None,
    has_processor: bool,
    prompt: str | None = None,
    long_audio: str = "cut",
) -> str:
    """A program that loads a repository and runs a prompt.

    Args:
        kind: what the repository holds: ``"config"``, ``"model"`` or ``"adapter"``.
        repo_id: the repository.
        revision: its branch; None for the main one.
        model_class: name of a transformers class.
        base_model: the model that the compression or adapter is for.
        base_revision: the revision of the base model; None for the latest.
        has_processor: whether the repository has the processor's files; if not, the base model's are used.
        prompt: the prompt; None for `QUESTION`.
        long_audio: how the compression reads long audio. For windows, the processor is patched as well.
    """
    repo, base = _arguments(repo_id, revision), _arguments(base_model, base_revision)
    config = json.dumps(repo_id if revision is None else f"{repo_id}@{revision}")
    if kind == "adapter" and base_revision is not None:  # the loader of adapters has no keyword for it
        kind = "adapter of a revision"
    processor = repo if has_processor else base
    named = "" if is_hub_id(base_model) else f"base={base}, "
    load = LOAD[kind].format(
        model_class=model_class, repo=repo, config=config, base=base, processor=processor, named=named
    )
    used = sorted(name for name in (model_class, "AutoProcessor") if f"{name}.from_pretrained" in load)
    return f"import hf_tokcomp  # adds compression to from_pretrained\nfrom transformers import {', '.join(used)}\n" + (
        load + (PATCH_PROCESSOR if long_audio == "windows" else "") + _question(prompt or QUESTION) + ANSWER.strip()
    )


def _question(prompt: str) -> str:
    marks = {mark for name in PATCHES.values() for mark in re.findall(r"<[^<>]+>", load_patch(name).prompt)}
    ask = ASK_WHOLE if any(mark in prompt for mark in marks) else ASK
    return ask.replace("{prompt}", json.dumps(prompt, ensure_ascii=False))


def _arguments(name: str, revision: str | None) -> str:
    return json.dumps(name) + (f", revision={json.dumps(revision)}" if revision is not None else "")
