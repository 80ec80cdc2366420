"""From one machine to another by way of the Hub: a compressed model, an adapter trained under compression, their cards.

Every program below runs in a process of its own: the first on the machine of the person who shares, the others each on
a machine with an empty cache and no token, which knows the name of a repository and nothing else.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hub_client import Hub
from huggingface_hub import ModelCard

import hf_tokcomp
from hf_tokcomp.cards import is_written
from hf_tokcomp.cards.existing import MARK
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings

BASE, QUARTER, ADAPTER = "someone/base", "someone/quarter", "someone/adapter"
LTBM = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
RECORDING, SAID = recordings()[0]
ON_CARDS = "What is being said?"
"""What the programs on cards ask."""

ASK = """
import json, sys
import hf_tokcomp
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

def prompt(question):
    content = [{"type": "audio", "path": "question.wav"}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt",
    )

def answers(model):
    said = {}
    for question in ("Transcribe the digits.", "What is being said?"):
        inputs = prompt(question)
        ids = model.eval().generate(**inputs, max_new_tokens=64)[0, inputs["input_ids"].shape[1] :]
        text = processor.decode(ids, skip_special_tokens=True)
        said[question] = {"ids": ids.tolist(), "text": text, "logits": model(**inputs).logits[0, -1].tolist()}
    config = hf_tokcomp.active_config(model)
    return {"compression": config and config.to_dict(), "answers": said}
"""

SHARE = """
processor = AutoProcessor.from_pretrained("someone/base")
model = Qwen2AudioForConditionalGeneration.from_pretrained("someone/base")
plain = answers(model)
hf_tokcomp.patch(model, {"method": "ltbm", "retention_ratio": 0.25})
model.push_to_hub("someone/quarter", processor=processor)
shared = answers(model)
"""

TRAIN = """
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

def example(question, answer):
    inputs = prompt(question)
    ids = processor.tokenizer(answer + "<|im_end|>", return_tensors="pt")["input_ids"]
    whole = torch.cat([inputs["input_ids"], ids], 1)
    inputs |= {
        "input_ids": whole,
        "attention_mask": torch.ones_like(whole),
        "labels": torch.cat([torch.full_like(inputs["input_ids"], -100), ids], 1),
    }
    return {name: values[0] for name, values in inputs.items()}

# The compression is read from what has just been shared; the base model on the Hub has none.
model = Qwen2AudioForConditionalGeneration.from_pretrained("someone/base", compression="someone/quarter")
torch.manual_seed(0)
model = get_peft_model(model, LoraConfig(r=8, target_modules=r".*language_model.*\\.(q_proj|v_proj)"))
Trainer(
    model,
    TrainingArguments(
        "training", max_steps=20, per_device_train_batch_size=1, learning_rate=1e-2, lr_scheduler_type="constant",
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, seed=0,
    ),
    train_dataset=[example(question, sys.argv[1]) for question in shared["answers"]],
).train()
model.push_to_hub("someone/adapter")
print(json.dumps({"plain": plain, "shared": shared, "trained": answers(model)}))
"""

LOAD = """
model = Qwen2AudioForConditionalGeneration.from_pretrained("someone/quarter")
processor = AutoProcessor.from_pretrained("someone/quarter")
print(json.dumps(answers(model)))
"""

LOAD_ADAPTER = """
model = hf_tokcomp.load_adapter("someone/adapter")
processor = AutoProcessor.from_pretrained("someone/base")
print(json.dumps(answers(model)))
"""


def test_share_and_load_elsewhere(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "question.wav", *soundfile.read(RECORDING))
    monkeypatch.chdir(tmp_path)
    hub.put(BASE, {file.name: file.read_bytes() for file in SMALL_MODEL.iterdir() if file.is_file()})

    here = printed(hub.run(ASK + SHARE + TRAIN, SAID, home="here").stdout)
    for question, answer in here["shared"]["answers"].items():
        # Nothing below can pass with a model that is not compressed, or with an adapter that does nothing.
        assert answer["text"] != here["plain"]["answers"][question]["text"]
        assert answer["text"] != here["trained"]["answers"][question]["text"] == SAID

    programs = {repo: program_on_card(hub, repo) for repo in (QUARTER, ADAPTER)}
    everywhere = {"model": ASK + LOAD, "adapter": ASK + LOAD_ADAPTER} | programs
    with ThreadPoolExecutor(2) as pool:
        outputs = pool.map(lambda name: run_elsewhere(hub, name, everywhere[name]), everywhere)
    output = dict(zip(everywhere, outputs, strict=True))

    assert_same(printed(output["model"]), here["shared"])
    assert_same(printed(output["adapter"]), here["trained"])
    assert output[QUARTER].strip() == here["shared"]["answers"][ON_CARDS]["text"]
    assert output[ADAPTER].strip() == SAID


def printed(output: str) -> Any:
    """What a program reports in the last line that it prints; `Trainer` prints, too."""
    return json.loads(output.splitlines()[-1])


def program_on_card(hub: Hub, repo: str) -> str:
    """The program in the repository's README.md, which must be our card of what is there."""
    card = hub.files(repo)["README.md"].decode()
    assert MARK.search(card)
    assert not is_written(card)
    assert ModelCard(card).data.base_model == BASE
    assert "\n| tokens per second | 25 before, 6.27 after |\n" in card  # of 750 tokens in 30 s, 188 are left
    (program,) = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    assert f'"{repo}"' in program
    return str(program)


def run_elsewhere(hub: Hub, name: str, program: str) -> str:
    """What a program prints on a machine that has nothing yet, where nobody is logged in."""
    home = f"elsewhere {name.replace('/', ' ')}"
    assert hub.cached(home) == []
    output = hub.run(program, home=home, token=None).stdout
    assert hub.cached(home) != []
    return output


def assert_same(found: Any, expected: Any) -> None:
    """The same compression, the same ids, and the same logits of the answer's first token."""
    assert found["compression"] == expected["compression"] == LTBM.to_dict()
    for question, answer in expected["answers"].items():
        assert found["answers"][question]["ids"] == answer["ids"]
        # Not to the bit: where a process's memory lies may change the order of a sum.
        assert found["answers"][question]["logits"] == pytest.approx(answer["logits"], abs=1e-4)
