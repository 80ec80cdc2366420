"""Reader: one loaded model that reads recordings under one compression after another, and says how long it took."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from ..audio.loading import Samples
from ..config.config import CompressionConfig
from ..config.registry import get_method
from ..errors import UnsupportedModelError
from ..hub.ids import MODEL_FILES, check_reachable
from ..hub.prompt_file import StoredPrompt
from ..loading.adapter_files import StoredAdapter, read_adapter
from ..loading.adapters import load_adapter
from ..loading.precedence import stored_config
from ..loading.stored_prompt import read_prompt
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import how_to_add, supported_models
from ..patching.patch import compressed, patch, unpatch
from .prompts import model_inputs, whole_prompt
from .recordings import GENERAL_PROMPT, Recording
from .timing import FirstToken, Seconds, wait_for

logger = logging.getLogger(__name__)
LONGEST_ANSWER = 128
"""Tokens of an answer, where neither the user nor the model says."""


@dataclass(frozen=True)
class Reading:
    """What the model read in one recording, from how many audio tokens.

    Args:
        text: what it read.
        tokens_before: tokens before compression.
        tokens_after: tokens that were kept.
        tokens_asked: tokens that the budget asked for, of which a method may keep fewer; None without a budget.
    """

    text: str
    tokens_before: int
    tokens_after: int
    tokens_asked: int | None = None

    @property
    def counts(self) -> str:
        """The counts as tables have them: ``37 -> 10, asked for 19``."""
        asked = "" if self.tokens_asked is None else f", asked for {self.tokens_asked}"
        return f"{self.tokens_before} -> {self.tokens_after}{asked}"


@dataclass(frozen=True)
class Batch:
    """Recordings as the model takes them; made once, read under any compression."""

    inputs: Any
    seconds: float


class Reader:
    """A model with its processor.

    Args:
        name: a folder or a Hub id, of a model or of an adapter. The processor is loaded here, the model by
            `load_model`: so mistakes in what is to be read can be found before gigabytes are.

    Raises:
        FileNotFoundError: there is no such folder.
        UnsupportedModelError: no patch for this kind of model.
        OSError: transformers finds no model there.
    """

    def __init__(self, name: str) -> None:
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            name = str(Path(name).expanduser())
            if not Path(name).is_dir():
                raise FileNotFoundError(f"There is no model folder {name}.")
        self.name = name
        self._transformers: Any = transformers
        self.adapter: StoredAdapter | None = None
        try:
            config = self._transformers.AutoConfig.from_pretrained(name)
        except (OSError, ValueError) as error:
            self.adapter = self._adapter()
            if self.adapter is None:
                if Path(name).is_dir():
                    raise
                raise OSError(f"{name} is neither a folder here nor a model that the Hub gave: {error}") from error
            if self.adapter.base is None:
                raise OSError(f"The adapter {name} does not name its base model.") from error
            check_reachable(self.base, MODEL_FILES)
            revision = self.adapter.base_revision
            config = self._transformers.AutoConfig.from_pretrained(self.base, revision=revision)
        found = supported_models().get(config.model_type)
        if found is None:
            raise UnsupportedModelError(f"{name} is a model of type {config.model_type!r}. {how_to_add()}")
        self.patch: ModelPatch = found
        # Not patched: prompts keep all their placeholders, and the model shortens them as each compression wants.
        self.processor = unpatch(self._load_processor())
        self.rate = found.sampling_rate(self.processor)
        self.model: Any = None
        self.stored = (
            stored_config(SimpleNamespace(config=config)) if self.adapter is None else self.adapter.compression
        )
        """The compression that the checkpoint or the adapter itself asks for."""
        self._untrained: set[str] = set()

    @property
    def base(self) -> str:
        """The model's name; of an adapter, its base model's."""
        return self.name if self.adapter is None else str(self.adapter.base)

    @functools.cached_property
    def stored_prompt(self) -> StoredPrompt | None:
        """The prompt that comes with the checkpoint; of an adapter without one, that of its base model."""
        own = read_prompt(self.name, {})
        if own is not None or self.adapter is None:
            return own
        revision = self.adapter.base_revision
        return read_prompt(self.base, {} if revision is None else {"revision": revision})

    @property
    def default_prompt(self) -> str:
        """What is asked about a recording where nobody says."""
        return GENERAL_PROMPT if self.stored_prompt is None else self.stored_prompt.text

    @property
    def longest_answer(self) -> int:
        """Tokens that are written at most where the user does not say; known before the model is loaded."""
        revision = None if self.adapter is None else self.adapter.base_revision
        try:
            config = self._transformers.GenerationConfig.from_pretrained(self.base, revision=revision)
        except OSError:  # there is no such file
            return LONGEST_ANSWER
        return config.max_new_tokens or LONGEST_ANSWER

    def _adapter(self) -> StoredAdapter | None:
        try:
            return read_adapter(self.name, {})
        except OSError:
            return None  # what AutoConfig said is nearer to what was asked

    def _load_processor(self) -> Any:
        load = self._transformers.AutoProcessor.from_pretrained
        if self.adapter is None:
            return load(self.name)
        try:
            return load(self.name)
        except (OSError, ValueError):  # an adapter need not bring one
            return load(self.base, revision=self.adapter.base_revision)

    def load_model(self, device: str = "auto", dtype: str = "auto") -> None:
        """Load the model.

        Args:
            device: ``"auto"`` (all GPUs there are, or else the CPU), ``"cpu"``, ``"cuda:1"`` and so on.
            dtype: ``"auto"`` (the checkpoint's) or the name of a torch dtype.
        """
        if device == "auto" and not torch.accelerator.is_available():
            device = "cpu"  # accelerate would begin to offload to disk where memory is short
        model_class = getattr(self._transformers, self.patch.model_classes[0])
        if self.adapter is None:
            self.model = model_class.from_pretrained(self.name, dtype=dtype, device_map=device).eval()
        else:
            self.model = load_adapter(self.name, dtype=dtype, device_map=device).eval()
        if active_config(self.model) is None:
            patch(self.model, "none")  # counts the tokens and changes nothing

    def about(self) -> dict[str, str]:
        """What a report says of the loaded model: its name, device and precision."""
        device, dtype = str(self.model.device), str(self.model.dtype).removeprefix("torch.")
        return {"model": self.name, "device": device, "dtype": dtype}

    def prompt(self, instruction: str) -> str:
        """The whole prompt for one recording: through the processor's chat template where there is one.

        An instruction that has the audio placeholder in it is a whole prompt already and comes back as it is.
        """
        return whole_prompt(self.processor, self.patch, instruction)

    def prepare(self, recordings: Sequence[Recording]) -> Batch:
        """Features and prompts of a batch of recordings, computed once for all compressions."""
        begin = time.perf_counter()
        prompts = [self.prompt(recording.prompt) for recording in recordings]
        inputs = model_inputs(self.processor, prompts, [recording.samples for recording in recordings], self.rate)
        return Batch(inputs.to(self.model.device, dtype=self.model.dtype), time.perf_counter() - begin)

    def check_length(self, name: str, samples: Samples) -> float:
        """Seconds at the end of a recording that the model does not read; more than none are warned of.

        Raises:
            ValueError: it is too short to be read.
        """
        seconds = len(samples) / self.rate
        # A single token makes upstream's Qwen2-Audio take its legacy branch, which fails.
        if self.patch.window_tokens(self.patch.mel_frames(self.processor, len(samples))) < 2:
            raise ValueError(f"{name} is too short: {seconds:.3f} s are not two audio tokens.")
        longest = self.patch.longest_audio(self.processor)
        if seconds > longest:
            logger.warning("%s has %.1f s; the model reads the first %g s only.", name, seconds, longest)
        return max(0.0, seconds - longest)

    def check_trained(self, compression: CompressionConfig) -> None:
        """Only the checkpoint's own compressor comes with weights, for any budget; any other begins anew."""
        method = compression.method
        if self.stored is not None and self.stored.has_weights_of(compression):
            return
        if method not in self._untrained and get_method(method).learns:
            self._untrained.add(method)
            logger.warning("%s has weights to learn, and none were loaded: they are newly initialized.", method)

    def read(
        self, batch: Batch, compression: CompressionConfig | None = None, max_new_tokens: int | None = None
    ) -> tuple[list[Reading], Seconds]:
        """The most likely text of every recording of a batch (greedy decoding).

        Args:
            batch: what `prepare` returned.
            compression: None for the checkpoint's own, or none at all.
            max_new_tokens: None for what the model's generation config says, or 128.
        """
        if compression is not None and compression != self.stored:
            self.check_trained(compression)
            with compressed(self.model, compression):
                return self.read(batch, None, max_new_tokens)
        if max_new_tokens is None:
            max_new_tokens = self.model.generation_config.max_new_tokens or LONGEST_ANSWER
        watch = FirstToken()
        wait_for(self.model.device)
        begin = time.perf_counter()
        with torch.inference_mode():
            ids = self.model.generate(
                **batch.inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                logits_processor=[watch],
            )
        wait_for(self.model.device)
        seconds = Seconds(batch.seconds, watch.at - begin, time.perf_counter() - watch.at)
        prompt = batch.inputs["input_ids"]
        texts = self.processor.tokenizer.batch_decode(ids[:, prompt.shape[1] :], skip_special_tokens=True)
        before = after = (prompt == self.patch.audio_token_id(self.model)).sum(1).tolist()
        record = self.model.audio_compressor.last
        if record is not None:
            before, after = record.tokens_before, record.tokens_after
        config = active_config(self.model)
        asked = [None if config is None else config.budget_length(int(n), self.patch.frame_rate) for n in before]
        counts = zip(texts, before, after, asked, strict=True)
        return [Reading(text.strip(), int(n), int(k), budget) for text, n, k, budget in counts], seconds
