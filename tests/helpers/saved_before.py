"""What version 0.1.0's first layout of files saved: folders that load for ever, and how they were made.

``python tests/helpers/saved_before.py FOLDER`` makes them with the installed version. Those in
``tests/fixtures/saved`` are never made again: `test_saved_before.py` loads them.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import tiny
import torch
from peft import get_peft_model
from safetensors.torch import save_file
from training_tools import adapter_weights, rows, small_lora, trainer

import hf_tokcomp
from hf_tokcomp.training import RetentionSchedule

KIND = "qwen2_audio"
SECONDS = [0.93, 0.4]
LTBM = {"method": "ltbm", "retention_ratio": 0.25, "window": 2}
RESAMPLER = {"method": "conv_resampler", "retention_ratio": 0.4}


def answers(model: Any) -> dict[str, Any]:
    """What a model says, and the last logits of its prompts."""
    inputs = tiny.inputs(KIND, SECONDS)
    said = model.eval().generate(**inputs, max_new_tokens=4, do_sample=False)
    config = hf_tokcomp.active_config(model)
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1]
    return {"config": config.to_dict(), "ids": said[:, -4:].tolist(), "logits": logits.tolist()}


def to_be_resumed(folder: Path, **args: Any) -> Any:
    """A training of four steps that saves each of them, with a schedule of budgets and a compressor that learns."""
    return trainer(
        KIND,
        folder,
        RESAMPLER,
        train=rows(4),
        callbacks=[RetentionSchedule([0.2, 0.7], seed=1)],
        args={"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 2} | args,
    )


def make(folder: Path) -> None:
    """Save a model, one that learnt, an adapter and a Trainer's checkpoint below a folder, and what they answer."""
    found: dict[str, Any] = {}
    model = hf_tokcomp.patch(tiny.model(KIND), LTBM)
    model.save_pretrained(folder / "model")
    tiny.processor(KIND).save_pretrained(folder / "model")
    found["model"] = answers(model)

    learned = hf_tokcomp.patch(tiny.model(KIND), RESAMPLER)
    torch.manual_seed(7)
    for parameter in learned.audio_compressor.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    learned.save_pretrained(folder / "learned")
    found["learned"] = answers(learned)

    base = hf_tokcomp.patch(tiny.model(KIND), RESAMPLER)
    adapted = get_peft_model(base, small_lora(base))
    torch.manual_seed(8)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, 0, 0.3)
    adapted.save_pretrained(folder / "adapter")
    found["adapter"] = answers(adapted)

    run = to_be_resumed(folder / "run")
    run.train()
    save_file(adapter_weights(run.model), folder / "trained.safetensors")
    shutil.move(folder / "run" / "checkpoint-2", folder / "checkpoint")
    shutil.rmtree(folder / "run")
    (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
