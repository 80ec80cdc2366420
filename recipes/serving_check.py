"""Does vLLM answer as the patched transformers model does? For machines and settings that the tests do not have.

The tests of `make vllm-test` run on a CPU. On GPUs, with tensor parallelism or in bfloat16, run

    python -m recipes.serving_check --dtype bfloat16 --tensor-parallel 2 *.wav
    python -m recipes.serving_check --model Qwen/Qwen2-Audio-7B-Instruct --compression ltbm --positions original *.wav

in an environment with vLLM. It prints how many answers are equal token by token, and of every other one how undecided
the transformers model is where the two part: the difference of its logits between the two tokens, over the largest
logit. In bfloat16, which has 8 bits, sums in another order change that by a few 1/256. The exit status is 1 if an
answer differs by more than `TIE`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import hf_tokcomp
from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.config.config import CompressionConfig
from hf_tokcomp.config.notation import resolve_compression
from hf_tokcomp.inference.prompts import model_inputs
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.serving.vllm import engine_args, export

TIE = 2.0**-5
"""The largest difference of two logits, over the largest logit, that rounding in bfloat16 may turn around."""


@dataclass(frozen=True)
class Expected:
    """An answer of the patched transformers model.

    Args:
        ids: its tokens.
        logits: ``(tokens, vocabulary)``, from which each was chosen.
    """

    ids: list[int]
    logits: torch.Tensor

    def gap(self, given: Sequence[int]) -> float:
        """How undecided the model is where another answer parts from its own, over its largest logit; 0 if none does.

        Where one answer ends and the other goes on, the token that ends it is one of the two.
        """
        for step, (ours, theirs) in enumerate(zip(self.ids, given, strict=False)):
            if ours != theirs:
                row = self.logits[step].float()
                return float((row[ours] - row[theirs]).abs() / row.abs().max())
        return 0.0


def expected(
    folder: str, config: CompressionConfig, instruction: str, audio: Sequence[Any], dtype: str, tokens: int
) -> tuple[str, list[Expected]]:
    """The prompt, and the greedy answers of the patched model to the recordings one by one."""
    reader = Reader(folder)
    reader.load_model(dtype=dtype)
    prompt, found = reader.prompt(instruction), []
    with hf_tokcomp.compressed(reader.model, config) as model:
        for samples in audio:
            inputs = model_inputs(reader.processor, [prompt], [samples], reader.rate).to(model.device)
            inputs[reader.patch.features] = inputs[reader.patch.features].to(model.dtype)
            made = model.generate(
                **inputs, do_sample=False, max_new_tokens=tokens, output_logits=True, return_dict_in_generate=True
            )
            ids = made.sequences[0, inputs["input_ids"].shape[1] :].tolist()
            found.append(Expected(ids, torch.cat(made.logits).cpu()))
    return prompt, found


def served(
    folder: str, config: CompressionConfig, prompt: str, audio: Sequence[Any], tokens: int, **options: Any
) -> list[list[int]]:
    """The greedy answers of a vLLM engine to all recordings at once.

    Args:
        folder: the model.
        config: what to serve under.
        prompt: the whole prompt of each recording.
        audio: ``(samples,)`` each.
        tokens: the most that an answer has.
        options: further keywords of `vllm.LLM`.
    """
    from vllm import LLM, SamplingParams

    llm = LLM(folder, **engine_args(config), **options)
    asked = [{"prompt": prompt, "multi_modal_data": {"audio": [samples]}} for samples in audio]
    made = llm.generate(asked, SamplingParams(temperature=0, max_tokens=tokens), use_tqdm=False)
    answers = [list(each.outputs[0].token_ids) for each in made]
    llm.llm_engine.engine_core.shutdown()
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("audio", nargs="*", help="recordings; default: those that ship with the package")
    parser.add_argument("--model", default=None, help="folder or Hub id; default: the shipped model")
    parser.add_argument("--compression", default="segmentwise_top_k")
    parser.add_argument("--retention-ratio", type=float, default=0.5)
    parser.add_argument("--positions", default="contiguous", choices=("contiguous", "original"))
    parser.add_argument("--prompt", default="Transcribe the digits.")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--tensor-parallel", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--max-model-len", type=int, default=2048)
    given = parser.parse_args(arguments)
    config = resolve_compression(given.compression).replace(
        retention_ratio=given.retention_ratio, positions=given.positions
    )
    files = given.audio or [str(path) for path, _ in recordings()]
    with tempfile.TemporaryDirectory() as made:
        folder = given.model or str(export(SMALL_MODEL, Path(made, "served"), config))  # its heads are made wider
        audio = [load_audio(file, Reader(folder).rate) for file in files]
        prompt, wanted = expected(folder, config, given.prompt, audio, given.dtype, given.max_tokens)
        gc.collect()
        torch.cuda.empty_cache()
        answers = served(
            *(folder, config, prompt, audio, given.max_tokens),
            dtype=given.dtype,
            tensor_parallel_size=given.tensor_parallel,
            max_model_len=given.max_model_len,
        )
    return report(files, wanted, answers)


def report(files: Sequence[str], wanted: Sequence[Expected], answers: Sequence[Sequence[int]]) -> int:
    """Print what was found; the exit status is 1 if an answer differs by more than a tie."""
    gaps = {file: one.gap(other) for file, one, other in zip(files, wanted, answers, strict=True) if one.ids != other}
    print(f"{len(files) - len(gaps)} of {len(files)} answers are equal.")
    for file, gap in gaps.items():
        print(f"{file}: {'a tie' if gap <= TIE else 'DIFFERS'}, logits {gap:.4f} of the largest apart")
    return int(any(gap > TIE for gap in gaps.values()))


if __name__ == "__main__":
    sys.exit(main())
