"""Rows, processors and runs for the tests of training."""

from __future__ import annotations

import os
import socket
from typing import Any

import tiny
import torch
import warm
from peft import LoraConfig
from places import HELPERS, ROOT, TESTS
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast, TrainingArguments

from hf_tokcomp.training import lora_config, make_trainer

PROMPT = "what is this"
POOLING = {"method": "average_pooling", "retention_ratio": 0.4}
ANSWERS = ["a b c d e f", "g", "b b", "c d e"]
MARKS = {"qwen2_audio": "<|audio_bos|><|AUDIO|><|audio_eos|>", "audioflamingo3": "<sound>"}
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}{{- 'AUDIO_MARK' -}}{%- else -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{{- '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def template(kind: str) -> str:
    """A chat template as the models have."""
    return TEMPLATE.replace("AUDIO_MARK", MARKS[kind])


def byte_processor(kind: str, chat: bool, seconds: int = 1) -> Any:
    """A processor whose tokens are bytes, so that decoding loses nothing."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(BPE(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<sound>", "<|im_start|>", "<|im_end|>"]
    processor = tiny.processor(kind, seconds)
    audio_token = processor.audio_token
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=special,
        clean_up_tokenization_spaces=False,
    )
    processor.audio_token_id = processor.tokenizer.convert_tokens_to_ids(audio_token)
    processor.chat_template = template(kind) if chat else None
    return processor


def plain_processor(kind: str) -> Any:
    """The tiny models' processor, without the template that Qwen2-Audio's has of itself: its words are unknown."""
    processor = tiny.processor(kind)
    processor.chat_template = None
    return processor


def run_processes(program: str, *arguments: Any, processes: int = 2) -> None:
    """Run a program, which finds the tests' modules, in several processes that know of each other as torchrun's do."""
    code = f"import sys\nsys.path[:0] = {[str(TESTS / 'training'), str(HELPERS), str(ROOT)]}\n{program}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    env = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    env |= {"MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    started = [warm.Started(code, *map(str, arguments), env=env | rank) for rank in ranks]
    ended = [each.wait(200) for each in started]
    if any(each.returncode for each in ended):
        raise RuntimeError("\n".join(each.stdout + each.stderr for each in ended))


def rows(number: int = 8, longest: float = 0.95) -> list[dict[str, Any]]:
    """Rows whose recordings and answers differ in length."""
    return [
        {"audio": tiny.sound(longest * (0.5 + 0.5 * (i % 3) / 2), seed=i), "text": ANSWERS[i % len(ANSWERS)]}
        for i in range(number)
    ]


def arguments(folder: Any, **options: Any) -> TrainingArguments:
    """Few plain steps, in the order of the rows' shuffling by the seed."""
    given = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "max_steps": 2,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }
    return TrainingArguments(output_dir=str(folder), **given | options)


def small_lora(model: Any, **options: Any) -> LoraConfig:
    """A small adapter without dropout, whose first step moves all of its weights."""
    return lora_config(model, **{"r": 2, "lora_alpha": 4, "lora_dropout": 0.0} | options)


def trainer(kind: str, folder: Any, compression: Any = POOLING, model: Any = None, **options: Any) -> Any:
    """`make_trainer` for a tiny model; arguments of `TrainingArguments` are in ``args``."""
    model = tiny.model(kind) if model is None else model
    given = {"processor": plain_processor(kind), "compression": compression, "prompt": PROMPT}
    args = arguments(folder, **options.pop("args", {}))
    return make_trainer(model, options.pop("train", None) or rows(), args, **given | options)


def adapter_weights(model: Any) -> dict[str, Any]:
    """What is trained, by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def losses(run: Any) -> list[float]:
    """Train, and the loss of every step."""
    run.train()
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def same(first: dict[str, Any], second: dict[str, Any], **tolerance: float) -> None:
    """Compare weights by name."""
    assert set(first) == set(second)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=lambda text, n=name: f"{n}: {text}", **tolerance)
