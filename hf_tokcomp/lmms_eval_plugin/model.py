"""The models for lmms-eval: Qwen2-Audio and Audio Flamingo 3 under any compression, on CPU and GPU."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from lmms_eval.utils import Collator
from tqdm import tqdm

from ..inference.asking import ask, check_trained, prepare
from ..inference.prompts import Prompts
from ..inference.reader import Reader
from ..models.instance import active_config
from ..patching.long_audio import processor_for
from ..patching.patch import patch
from .arguments import chosen_compression, refuse_unknown, whole_number
from .decoding import cut, generate_options, stops
from .failing import failing_the_run
from .prompts import Question, Questions

logger = logging.getLogger(__name__)


class CompressedAudioModel(lmms):  # type: ignore[misc]  # lmms-eval has no types
    """Any supported model, as ``--model hf_tokcomp``; the classes below differ in what they load by default.

    Args:
        pretrained: folder or Hub id of a model or an adapter.
        compression: a method key, JSON, a folder or a Hub id; None for the checkpoint's own, if any.
        retention_ratio: fraction of the audio tokens to keep, above 0 and at most 1.
        positions: ``"contiguous"`` or ``"original"``.
        device: ``"auto"`` (all available GPUs, or else the CPU), ``"cpu"``, ``"cuda:0"``; one process per GPU under
            accelerate.
        dtype: ``"auto"`` (the checkpoint's), ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        batch_size: number of documents answered together.
        use_cache: if False, recompute the whole prompt for every generated token.
        add_system_prompt: if False, omit the system turn that the chat template may add.
        simple_prompt: if True, do not use the chat template, as base models expect.

    Raises:
        ValueError: an argument is unknown or invalid.
        UnsupportedModelError: the checkpoint is of another model type.
    """

    model_type: ClassVar[str | None] = None
    """The only accepted model type; None for any."""
    default_checkpoint: ClassVar[str | None] = None

    @failing_the_run()
    def __init__(
        self,
        pretrained: str | None = None,
        compression: Any = None,
        retention_ratio: float | None = None,
        positions: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | str = 1,
        use_cache: bool = True,
        add_system_prompt: bool = True,
        simple_prompt: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()
        known = inspect.signature(CompressedAudioModel.__init__).parameters
        refuse_unknown(unknown, set(known) - {"self", "unknown"})
        name = pretrained or self.default_checkpoint
        if name is None:
            raise ValueError("Which model? Add pretrained=FOLDER_OR_HUB_ID.")
        self._batch_size = whole_number("batch_size", batch_size)
        self.use_cache = use_cache
        reader = Reader(name)
        if self.model_type not in (None, reader.patch.model_type):
            raise ValueError(f"{name} is a {reader.patch.model_type!r} model; use --model hf_tokcomp, which takes any.")
        config = chosen_compression(compression, retention_ratio, positions, reader.stored)
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        if device == "auto" and self._world_size > 1:
            device = str(self.accelerator.device)
        reader.load_model(device, dtype)
        self._model = reader.model
        if config is not None and config != reader.stored:
            check_trained(self._model, [config])
            patch(self._model, config)
        self._device = self._model.device
        processor = processor_for(reader.processor, active_config(self._model))
        self.questions = Questions(processor, reader.patch, add_system_prompt, simple_prompt)

    @property
    def model(self) -> Any:
        """The patched model."""
        return self._model

    @property
    def config(self) -> Any:
        """The model's config."""
        return self._model.config

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.questions.processor.tokenizer

    @property
    def batch_size(self) -> int:
        """Number of documents answered together."""
        return self._batch_size

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        device: torch.device = self._device
        return device

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not implemented: no audio task of lmms-eval 0.7.3 uses it, and it would choose the *lowest* value.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("hf_tokcomp's models answer by generation only (output_type: generate_until).")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not implemented: a compressed prompt is answered once.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("hf_tokcomp's models answer one round only (output_type: generate_until).")

    @failing_the_run()
    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """The answers to all requests, in order, with the numbers of tokens the language model read and generated.

        Raises:
            RuntimeError: reading the audio of a document or generating failed; the message names the documents.
                Failures never result in empty answers.
        """
        begin = time.perf_counter()
        sorted_requests = Collator([request.args for request in requests], self._sorting_key, grouping=True)
        answers: list[_Answer] = []
        with tqdm(total=len(requests), disable=self.rank != 0, desc="Model Responding") as bar:
            for batch in sorted_requests.get_batched(n=self._batch_size):
                answers += self._answer(batch)
                bar.update(len(batch))
        if answers:
            _report(answers, time.perf_counter() - begin)
        return list(sorted_requests.get_original([answer.result for answer in answers]))

    def _sorting_key(self, arguments: Sequence[Any]) -> tuple[int, str]:
        return -len(self.tokenizer(arguments[0])["input_ids"]), arguments[0]

    def _answer(self, batch: Sequence[Sequence[Any]]) -> list[_Answer]:
        """The answers to requests with the same generation options."""
        questions = [self._question(*request) for request in batch]
        try:
            return self._generate(questions, batch[0][1])
        except Exception as error:
            places = ", ".join(_place(*request[3:]) for request in batch)
            raise RuntimeError(f"{places}: {type(error).__name__}: {error}") from error

    def _question(self, context: str, _: Any, doc_to_visual: Any, doc_id: int, task: str, split: str) -> Question:
        try:
            return self.questions.ask(context, doc_to_visual(self.task_dict[task][split][doc_id]))
        except Exception as error:
            raise RuntimeError(f"{_place(doc_id, task, split)}: {type(error).__name__}: {error}") from error

    def _generate(self, questions: Sequence[Question], task_options: dict[str, Any]) -> list[_Answer]:
        options, until = generate_options(task_options), stops(task_options)
        asked = Prompts(
            [question.prompt for question in questions],
            [samples for question in questions for samples in question.samples],
            [len(question.samples) for question in questions],
        )
        processor = self.questions.processor
        prepared = prepare(self._model, processor, asked)
        answers = ask(self._model, processor, prepared, strip=False, **options, use_cache=self.use_cache)
        return [
            _Answer(
                GenerationResult(
                    cut(answer.text, until),
                    TokenCounts(input_tokens=answer.tokens_read, output_tokens=answer.tokens_written),
                ),
                answer.tokens_before,
                answer.tokens_after,
            )
            for answer in answers
        ]


class CompressedQwen2Audio(CompressedAudioModel):
    """``--model hf_tokcomp_qwen2_audio``."""

    model_type = "qwen2_audio"
    default_checkpoint = "Qwen/Qwen2-Audio-7B-Instruct"


class CompressedAudioFlamingo3(CompressedAudioModel):
    """``--model hf_tokcomp_audio_flamingo_3``."""

    model_type = "audioflamingo3"
    default_checkpoint = "nvidia/audio-flamingo-3-hf"


class _Answer:
    def __init__(self, result: GenerationResult, tokens_before: int, tokens_after: int) -> None:
        self.result = result
        self.tokens_before = tokens_before
        self.tokens_after = tokens_after


def _place(doc_id: int, task: str, split: str) -> str:
    return f"task {task}, split {split}, document {doc_id}"


def _report(answers: Sequence[_Answer], seconds: float) -> None:
    """Log for the results file, under ``throughput``: audio tokens per document before and after compression."""
    written = sum(answer.result.token_counts.output_tokens for answer in answers)
    means = {
        "audio_tokens_before": sum(answer.tokens_before for answer in answers) / len(answers),
        "audio_tokens_after": sum(answer.tokens_after for answer in answers) / len(answers),
    }
    log_metrics(seconds, written, written / seconds, means)
