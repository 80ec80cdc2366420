"""What Qwen2.5-Omni's patched thinker answers, for environments in which it cannot be patched.

vLLM 0.32 takes transformers up to 5.19, and the thinker can be patched from 5.23 on, where its parts have other places.
So the answers are in a file, which a test holds against the patched model wherever that runs; this module as a script
writes it. Weights are drawn by name, so that the checkpoint is the same under all versions.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from engines import Question, ids_generated
from places import ROOT
from safetensors.torch import load_file, save_file
from subjects import qwen2_5_omni_thinker as subject
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

import hf_tokcomp

FILE = ROOT / "tests" / "fixtures" / "omni_answers.json"
CASES: dict[str, Any] = {
    "none": {"method": "none"},
    "segmentwise_top_k": {"method": "segmentwise_top_k", "retention_ratio": 0.25},
    "ltbm": {"method": "ltbm", "retention_ratio": 0.25},
    "per second": {"method": "average_pooling", "tokens_per_second": 3},
    "chunks": {"method": "visionzip", "retention_ratio": 0.25, "chunk_seconds": 2},
    "pieces": {"method": "top_k", "retention_ratio": 0.25},
    "original": {"method": "top_k", "retention_ratio": 0.25, "positions": "original"},
    "adapter": {"method": "ltbm", "retention_ratio": 0.25},
}
PROJECTIONS = r".*language_model\..*\.(q_proj|v_proj|down_proj)"


def questions() -> list[Question]:
    """Ragged, two audios in a prompt, and none."""
    found = []
    for seed, seconds in enumerate((1.0, 0.3, 3.3, 12.2, 29.9)):
        found.append(Question(subject.prompt(1, " ".join(tiny.WORDS[: 3 + seed])), [tiny.sound(seconds, seed)]))
    found.append(Question(subject.prompt(2, "what is"), [tiny.sound(2.3, 8), tiny.sound(5.1, 9)]))
    return [*found, Question(subject.prompt(0, "what is this"))]


def drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A weight, by its name in published checkpoints; the encoder attends sharply, see `engines.made`."""
    if name.endswith("norm.weight") or "ln_post.weight" in name:
        return torch.ones(shape)
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape) * (
        0.25 if len(shape) > 1 else 0.02
    )
    if name == "lm_head.weight":
        values[: subject.SILENT] = 0
    return torch.tensor(values, dtype=torch.float32)


def saved_thinker(folder: Path) -> Path:
    """The checkpoint of the thinker alone."""
    config = Qwen2_5OmniThinkerConfig(**subject.config(heads=32))
    config.text_config.tie_word_embeddings = False
    Qwen2_5OmniThinkerForConditionalGeneration(config).save_pretrained(folder)
    subject.processor(30).save_pretrained(folder)
    file = folder / "model.safetensors"
    weights = {name: drawn(name, tuple(tensor.shape)) for name, tensor in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    return folder


def saved_whole(folder: Path) -> Path:
    """The same inside a composite, as published; of the talker there is one weight, of what sees none."""
    saved_thinker(folder)
    thinker = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    Qwen2_5OmniConfig(thinker_config=thinker, architectures=["Qwen2_5OmniModel"]).save_pretrained(folder)
    file = folder / "model.safetensors"
    weights = {f"thinker.{name}": tensor for name, tensor in load_file(file).items() if "visual" not in name}
    save_file(weights | {"talker.codec_head.weight": torch.zeros(2, 2)}, file, {"format": "pt"})
    return folder


def saved_adapter(folder: Path) -> Path:
    """An adapter of the thinker's language model, in the names that PEFT gives it."""
    from peft import LoraConfig

    LoraConfig(r=8, lora_alpha=16, target_modules=PROJECTIONS).save_pretrained(folder)
    parts = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
    widths = {"q_proj": (128, 128), "v_proj": (128, 64), "down_proj": (48, 128)}
    weights = {}
    for each in [f"{layer}.{part}" for layer in (0, 1) for part in parts]:
        read, written = widths[each.rsplit(".", 1)[1]]
        for name, shape in (("lora_A", (8, read)), ("lora_B", (written, 8))):
            full = f"base_model.model.model.language_model.layers.{each}.{name}.weight"
            weights[full] = drawn(full, shape)
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def answered(folder: Path, case: str) -> dict[str, Any]:
    """What the patched model answers to the questions, and the lengths of the compressed prompts."""
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(saved_thinker(folder)).eval()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    if case == "adapter":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(saved_adapter(folder / "adapter")))
    processor = subject.processor(30)
    ids = ids_generated("qwen2_5_omni_thinker", model, processor, CASES[case], questions())
    with hf_tokcomp.compressed(processor, CASES[case]):
        inputs = [question.inputs("qwen2_5_omni_thinker", processor)["input_ids"] for question in questions()]
    return {"ids": ids, "lengths": [each.shape[1] for each in inputs]}


def expected(case: str) -> dict[str, Any]:
    """What is in the file."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))[case]
    return found


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        every = {case: answered(Path(folder), case) for case in CASES}
    text = json.dumps(every, indent=1)
    FILE.write_text(re.sub(r"\n {3,}|\n  (?=\])", " ", text) + "\n", encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")
