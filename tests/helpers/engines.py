"""vLLM engines in this process, one at a time, and what the patched transformers model answers to the same prompts."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from places import ROOT
from safetensors.torch import load_file, save_file

import hf_tokcomp
from hf_tokcomp.config.notation import resolve_compression
from hf_tokcomp.patching.long_audio import processor_for
from hf_tokcomp.serving.vllm import engine_args

HERE = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads when it is imported: small, quiet, and all in one process."""
os.environ.update(HERE)

TOKENS = 8  # of an answer
BLOCK = 32  # tokens of a block of the cache
SMALL = {"max_model_len": 512, "max_num_batched_tokens": 64, "max_num_seqs": 8, "num_gpu_blocks_override": 18}
"""Audios are cut by the prefill, and requests are preempted and begin again: fewer blocks than the prompts need."""


@dataclass
class Question:
    """A prompt and its recordings."""

    text: str
    audio: list[np.ndarray] = field(default_factory=list)

    def inputs(self, kind: str, processor: Any) -> Any:
        """What the processor makes of it."""
        if not self.audio:
            return processor.tokenizer([self.text], return_tensors="pt", return_token_type_ids=False)
        return hf_tokcomp.supported_models()[kind].process(processor, [self.text], self.audio, tiny.RATE)

    @property
    def for_vllm(self) -> dict[str, Any]:
        return {"prompt": self.text, **({"multi_modal_data": {"audio": self.audio}} if self.audio else {})}


SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "qwen3_asr": ({"heads": 32}, {}),
    "voxtral": ({"seconds": 30, "hidden_size": 128, "head_dim": 32}, {"seconds": 30}),
}
"""What a model and a processor of `subjects` are made with."""


@functools.cache
def made(kind: str) -> tuple[Any, Any]:
    """A model and processor such as vLLM takes: heads of 32, windows of 30 s.

    Its encoder attends sharply: with random weights as they are drawn all tokens get nearly the same attention, and
    rounding decides which is kept.
    """
    if kind in tiny.KINDS:
        model, processor = tiny.model(kind, seconds=30, hidden=128), tiny.processor(kind, 30)
    else:
        subject = importlib.import_module(f"subjects.{kind}")
        of_model, of_processor = SIZES[kind]
        model, processor = subject.model(**of_model), subject.processor(**of_processor)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "audio_tower" in name and parameter.dim() == 2 and "embed" not in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return model, processor


def saved(kind: str, folder: Path) -> Path:
    """The same, written as any checkpoint is."""
    for each in made(kind):
        each.save_pretrained(folder)
    return folder


def as_published(folder: Path) -> Path:
    """Give a saved model's weights the names of published checkpoints, which stock vLLM reads.

    transformers 5.19 doubles a part of the language model's; the plug-in reads both.
    """
    file = folder / "model.safetensors"
    weights = {name.replace(".model.model.", ".model."): tensor for name, tensor in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    return folder


def answers(kind: str, compression: Any, questions: Sequence[Question], model: Any = None) -> list[list[int]]:
    """The greedy ids of the patched transformers model, each question on its own."""
    plain, processor = made(kind)
    return ids_generated(kind, plain if model is None else model, processor, compression, questions)


def ids_generated(
    kind: str, model: Any, processor: Any, compression: Any, questions: Sequence[Question]
) -> list[list[int]]:
    """The same, of any model."""
    processor = processor_for(processor, resolve_compression(compression))
    found = []
    with hf_tokcomp.compressed(model, compression):
        for question in questions:
            inputs = question.inputs(kind, processor)
            ids = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
            found.append(ids[0, inputs["input_ids"].shape[1] :].tolist())
    return found


def run_examples(model: str, folder: Path) -> int:
    """Run the examples of docs/serving.md that load this model, with a folder in its place; returns how many."""
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- not run: make vllm-test does -->\n```python\n(.*?)```", page, re.DOTALL)
    found = [example for example in found if model in example]
    for example in found:
        options = "enforce_eager=True, dtype='float32', max_model_len=2048"
        names: dict[str, Any] = {}
        exec(
            re.sub(r"(?m)^llm = LLM\((.*)\)$", rf"llm = LLM(\1, {options})", example.replace(model, str(folder))), names
        )
        names.pop("llm").llm_engine.engine_core.shutdown()
        clean_up()
    return len(found)


@contextmanager
def engine(folder: Path, compression: Any, **options: Any) -> Iterator[Any]:
    """An engine of unmodified vLLM that serves a folder; None for a compression: without the plug-in's architecture."""
    from vllm import LLM

    usual: dict[str, Any] = {
        "block_size": BLOCK,
        "distributed_executor_backend": "uni",
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 4096,
    }
    llm = None
    try:
        llm = LLM(str(folder), **usual | ({} if compression is None else engine_args(compression)) | options)
        yield llm
    finally:
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()  # also where a failed test's traceback still holds it
        del llm
        clean_up()


def clean_up() -> None:
    """Let the next engine start in this process."""
    from vllm.distributed import cleanup_dist_env_and_memory

    gc.collect()
    cleanup_dist_env_and_memory()


def generate(llm: Any, questions: Sequence[Question | dict[str, Any]], **options: Any) -> list[Any]:
    """vLLM's outputs for questions that are asked at once."""
    from vllm import SamplingParams

    asked = [question.for_vllm if isinstance(question, Question) else question for question in questions]
    greedy = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    return list(llm.generate(asked, greedy, use_tqdm=False, **options))


def ids_of(outputs: Sequence[Any]) -> list[list[int]]:
    """The ids of every answer."""
    return [list(output.outputs[0].token_ids) for output in outputs]
