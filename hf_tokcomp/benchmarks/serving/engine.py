"""vLLM's `AsyncLLM`, which its HTTP server runs: one engine at a time, in processes of its own.

The benchmark's client is this process rather than an HTTP client: the scheduler's steps can be watched, and what is
timed is the engine and the processing of its inputs, without HTTP and the decoding of audio files. `vllm bench serve`,
vLLM's own client of a server, sees answers only: how many requests run at once, and preemptions, it would not know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import vllm
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase

from ...audio.loading import Samples
from .clients import Answered
from .subject import Prompt

UNCACHED = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}
"""Every request is read anew, although all have the same clip."""
VERSION: str = vllm.__version__


@dataclass
class Steps:
    """What the scheduler did since `clear`.

    Args:
        most_running: the most requests that ran in a step.
        preempted: how often a request lost its blocks, to begin again.
    """

    most_running: int = 0
    preempted: int = 0

    def clear(self) -> None:
        self.most_running = self.preempted = 0


@dataclass(eq=False)
class Server:
    """A running engine.

    Args:
        engine: vLLM's.
        prompt: the prompt with its placeholder.
        clip: the sound of every request.
        new_tokens: tokens of every answer.
        steps: what its scheduler does.
    """

    engine: AsyncLLM
    prompt: Prompt
    clip: Samples
    new_tokens: int
    steps: Steps
    _numbers: Any = field(default_factory=count)

    @property
    def request(self) -> Any:
        """What a request asks, for vLLM."""
        text = {"prompt" if isinstance(self.prompt, str) else "prompt_token_ids": self.prompt}
        return {**text, "multi_modal_data": {"audio": [self.clip]}}

    async def prepared(self) -> Any:
        """A request with its features, so that it reaches the scheduler as soon as it is sent."""
        parsed = parse_model_prompt(self.engine.model_config, self.request)
        (made,) = await self.engine.renderer.render_cmpl_async([parsed])
        return made

    async def ask(self, due: float, prepared: Any = None) -> Answered:
        """Send a request that was due at a time of `time.perf_counter`, and wait for the last token."""
        exactly = SamplingParams(
            temperature=0, max_tokens=self.new_tokens, min_tokens=self.new_tokens, ignore_eos=True, detokenize=False
        )
        first, prompt_tokens = 0.0, 0
        asked = self.request if prepared is None else prepared
        async for output in self.engine.generate(asked, exactly, f"request-{next(self._numbers)}"):
            if not first:
                first, prompt_tokens = time.perf_counter(), len(output.prompt_token_ids or ())
        return Answered(due, first, time.perf_counter(), prompt_tokens)

    def about(self) -> dict[str, Any]:
        """The settings that bound what can be measured."""
        config = self.engine.vllm_config
        return {
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "max_model_len": config.model_config.max_model_len,
            "enforce_eager": config.model_config.enforce_eager,
            "block_size": config.cache_config.block_size,
            "kv_blocks": config.cache_config.num_gpu_blocks,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        }


@asynccontextmanager
async def serving(
    model: str, arguments: Mapping[str, Any], prompt: Prompt, clip: Samples, new_tokens: int
) -> AsyncIterator[Server]:
    """Run an engine within the ``async with`` block.

    Args:
        model: folder or Hub id.
        arguments: keywords of `AsyncEngineArgs`; those of vLLM's HTTP server are the defaults, but for `UNCACHED`. On a
            CPU nothing is compiled unless asked for.
        prompt: the prompt with its placeholder.
        clip: the sound of every request.
        new_tokens: tokens of every answer.

    Raises:
        RuntimeError: the engine did not start.
    """
    steps = Steps()
    usual = {"enforce_eager": current_platform.is_cpu(), "disable_log_stats": True, "use_tqdm_on_load": False}
    given = AsyncEngineArgs(model=model, **usual | UNCACHED | dict(arguments))
    try:
        engine = AsyncLLM.from_engine_args(
            given, usage_context=UsageContext.OPENAI_API_SERVER, stat_loggers=[_watching(steps)]
        )
    except RuntimeError as error:
        await asyncio.sleep(0)  # Ctrl-C ends the engine's processes first, and this task now
        raise RuntimeError(
            f"vLLM did not start: {error} VLLM_LOGGING_LEVEL=INFO in the environment shows all of its messages."
        ) from error
    try:
        yield Server(engine, prompt, clip, new_tokens, steps)
    finally:
        engine.shutdown()
        # Its `__del__` does it again, perhaps when the interpreter has cleared what that needs.
        engine.shutdown = lambda timeout=None: None


def _watching(steps: Steps) -> Any:
    """A factory of what vLLM tells of its scheduler's steps."""

    class Watch(StatLoggerBase):
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(
            self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
        ) -> None:
            if scheduler_stats is not None:
                steps.most_running = max(steps.most_running, scheduler_stats.num_running_reqs)
            if iteration_stats is not None:
                steps.preempted += iteration_stats.num_preempted_reqs

        def log_engine_initialized(self) -> None:
            pass

    return Watch
