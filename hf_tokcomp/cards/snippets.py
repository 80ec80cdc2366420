"""The code snippet on a card: how to load the contents of the repository and run a prompt."""

from __future__ import annotations

import json
import re

from ..hub.ids import is_hub_id
from ..models.base import ModelPatch
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
ANY_CLASS = "AutoModelForSeq2SeqLM"
"""For a model whose type is unknown: the Auto class that loads Qwen2-Audio, both Flamingos and most of the others."""
QUESTION = "What is being said?"
"""The default question."""
ASK = """
{before}content = [{content}]
inputs = processor.apply_chat_template(
    [{system}{"role": "user", "content": content}],
    tokenize=True,
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
).to(model.device)
"""
ASK_WHOLE = """
prompt = {prompt}
rate = processor.{extractor}.sampling_rate
samples = hf_tokcomp.audio.load_audio("question.wav", rate)
inputs = processor(text=[prompt], audio=[samples], sampling_rate=rate, return_tensors="pt").to(model.device)
"""
"""For a prompt that contains the audio placeholder."""
TRANSCRIBE = """
rate = processor.{extractor}.sampling_rate
samples = hf_tokcomp.audio.load_audio("question.wav", rate)
inputs = processor(samples, sampling_rate=rate, return_tensors="pt", return_attention_mask=True).to(model.device)
output = model.generate(**inputs)
print(processor.batch_decode(output, skip_special_tokens=True)[0])
"""
"""For a model that reads no prompt and ends its text by itself."""
AUDIO = '{"type": "audio", "path": "question.wav"}'
ANSWER = """
output = model.generate(**inputs, {options})
print(processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
"""


def snippet(
    kind: str,
    repo_id: str,
    revision: str | None,
    patch: ModelPatch | None,
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
        patch: the patch of the model; None if its type is unknown.
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
    model_class = ANY_CLASS if patch is None else patch.model_classes[0]
    options = (ModelPatch if patch is None else patch).text_options.format(count=64)
    named = "" if is_hub_id(base_model) else f"base={base}, "
    load = LOAD[kind].format(
        model_class=model_class, repo=repo, config=config, base=base, processor=processor, named=named
    )
    used = sorted(name for name in (model_class, "AutoProcessor") if f"{name}.from_pretrained" in load)
    if patch is not None and not patch.reads_prompts:
        ask = TRANSCRIBE.replace("{extractor}", patch.extractor)
    else:
        ask = _question(prompt or QUESTION, patch) + ANSWER.strip()
    return f"import hf_tokcomp  # adds compression to from_pretrained\nfrom transformers import {', '.join(used)}\n" + (
        load + (PATCH_PROCESSOR if long_audio == "windows" else "") + ask.replace("{options}", options).rstrip()
    )


def _question(prompt: str, patch: ModelPatch | None) -> str:
    patches = [load_patch(name) for name in PATCHES.values()] if patch is None else [patch]
    marks = {mark for one in patches for mark in re.findall(r"<[^<>]+>|\[[A-Z]+\]", one.prompt)}
    whole = any(mark in prompt for mark in marks)
    if patch is not None and patch.processor_calls:  # a processor of conversations alone
        texts = prompt.split(patch.prompt.replace("{text}", "")) if whole else ["", prompt]
        joined = f", {AUDIO}, ".join(_text(text) for text in texts)
        return _ask(joined.removeprefix(", ").removesuffix(", "), patch)
    if whole or (patch is not None and patch.turns_are_text):
        written = _shown(prompt) if whole or patch is None else _turn(patch.prompt.replace("{text}", prompt))
        extractor = ModelPatch.extractor if patch is None else patch.extractor
        return ASK_WHOLE.replace("{prompt}", written).replace("{extractor}", extractor)
    parts = [AUDIO, _text(prompt)]
    if patch is not None and patch.prompt.startswith("{text}"):
        parts.reverse()
    return _ask(", ".join(parts), patch)


def _ask(content: str, patch: ModelPatch | None) -> str:
    system = None if patch is None else patch.system
    before = "" if system is None else f"system = [{_text(system)}]\n"
    turn = "" if system is None else '{"role": "system", "content": system}, '
    return ASK.replace("{before}", before).replace("{system}", turn).replace("{content}", content)


def _text(text: str) -> str:
    return f'{{"type": "text", "text": {_shown(text)}}}' if text.strip() else ""


def _turn(text: str) -> str:
    """The code of a prompt with this user's turn in it, by the tokenizer's chat template."""
    turn = f'{{"role": "user", "content": {_shown(text)}}}'
    return f"processor.tokenizer.apply_chat_template(\n    [{turn}], tokenize=False, add_generation_prompt=True\n)"


def _shown(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _arguments(name: str, revision: str | None) -> str:
    return json.dumps(name) + (f", revision={json.dumps(revision)}" if revision is not None else "")
