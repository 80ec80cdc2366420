"""Reader: one loaded model that reads recordings under one compression after another, and says how long it took."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from ..audio.loading import Samples
from ..config.config import CompressionConfig
from ..errors import UnsupportedModelError
from ..hub.ids import MODEL_FILES, check_reachable
from ..hub.prompt_file import StoredPrompt
from ..loading.adapter_files import StoredAdapter, read_adapter
from ..loading.adapters import load_adapter
from ..loading.precedence import stored_config
from ..loading.stored_prompt import read_prompt
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import find_patch, how_to_add
from ..patching.patch import compressed, patch, unpatch
from .asking import LONGEST_ANSWER, Answer, Prepared, ask, prepare, untrained
from .prompts import Prompts, whole_prompt
from .recordings import GENERAL_PROMPT, Recording
from .timing import Clock, Seconds

logger = logging.getLogger(__name__)


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
        found = find_patch(config.model_type)
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

    def prepare(self, recordings: Sequence[Recording]) -> Prepared:
        """Features and prompts of a batch of recordings, computed once for all compressions."""
        texts = [self.prompt(recording.prompt) for recording in recordings]
        prompts = Prompts(texts, [recording.samples for recording in recordings], [1] * len(recordings))
        return prepare(self.model, self.processor, prompts)

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

    def read(
        self, batch: Prepared, compression: CompressionConfig | None = None, max_new_tokens: int | None = None
    ) -> tuple[list[Answer], Seconds]:
        """The most likely text of every recording of a batch (greedy decoding), and the seconds it took.

        Args:
            batch: what `prepare` returned.
            compression: None for the checkpoint's own, or none at all.
            max_new_tokens: None for what the model's generation config says, or 128.
        """
        if compression is not None and compression != self.stored:
            said = untrained(self.model, compression)
            if said is not None and compression.method not in self._untrained:
                self._untrained.add(compression.method)
                logger.warning("%s", said)
            with compressed(self.model, compression):
                return self.read(batch, None, max_new_tokens)
        clock = Clock()
        answers = ask(self.model, self.processor, batch, max_new_tokens, clock=clock)
        return answers, clock.seconds(batch.seconds)
