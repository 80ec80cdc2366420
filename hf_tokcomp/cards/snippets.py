"""The program on a card: how to load what is in the repository, and how to ask it something."""

from __future__ import annotations

import json

from ..hub.ids import is_hub_id

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

ASK = """
content = [{"type": "audio", "path": "question.wav"}, {"type": "text", "text": "What is being said?"}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}],
    tokenize=True,
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
).to(model.device)
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
) -> str:
    """A program that loads a repository.

    Args:
        kind: what the repository holds: ``"config"``, ``"model"`` or ``"adapter"``.
        repo_id: the repository.
        revision: its branch; None for the main one.
        model_class: name of a class of transformers.
        base_model: the model that the compression or adapter is for.
        base_revision: its revision; None for its newest.
        has_processor: whether the repository has the processor's files; if not, they are the base model's.
    """
    repo, base = _arguments(repo_id, revision), _arguments(base_model, base_revision)
    config = json.dumps(repo_id if revision is None else f"{repo_id}@{revision}")
    if kind == "adapter" and base_revision is not None:  # which an adapter's own loader has no keyword for
        kind = "adapter of a revision"
    processor = repo if has_processor else base
    named = "" if is_hub_id(base_model) else f"base={base}, "
    load = LOAD[kind].format(
        model_class=model_class, repo=repo, config=config, base=base, processor=processor, named=named
    )
    used = sorted(name for name in (model_class, "AutoProcessor") if f"{name}.from_pretrained" in load)
    return f"import hf_tokcomp  # teaches from_pretrained to compress\nfrom transformers import {', '.join(used)}\n" + (
        load + ASK.rstrip()
    )


def _arguments(name: str, revision: str | None) -> str:
    return json.dumps(name) + (f", revision={json.dumps(revision)}" if revision is not None else "")
