"""`Reader`: a loaded model that processes recordings under successive compressions and times each of them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
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
from ..patching.long_audio import longest_read, processor_for
from ..patching.patch import compressed, patch, unpatch
from ..patching.windows import advice
from .asking import LONGEST_ANSWER, Answer, Prepared, ask, prepare, untrained
from .prompts import Prompts, whole_prompt
from .recordings import GENERAL_PROMPT, Recording
from .speech import Voice, check_speaks
from .timing import Clock, Seconds

logger = logging.getLogger(__name__)


class Reader:
    """A model with its processor.

    Args:
        name: folder or Hub id of a model or an adapter. Only the processor is loaded here; the model is loaded by
            `load_model`, so that errors in the inputs are found before gigabytes are read.

    Raises:
        FileNotFoundError: the folder does not exist.
        UnsupportedModelError: there is no patch for this type of model.
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
            raise UnsupportedModelError(
                f"{name} is a model of type {config.model_type!r}. {how_to_add(config.to_dict())}"
            )
        self.patch: ModelPatch = found
        self.config = config
        # Not patched: prompts keep all their placeholders, and the model shortens them as each compression requires.
        self.processor = unpatch(self._load_processor())
        self.rate = found.sampling_rate(self.processor)
        self.model: Any = None
        self.stored = stored_config(config) if self.adapter is None else self.adapter.compression
        """The compression stored with the checkpoint or the adapter."""
        self._untrained: set[str] = set()

    @property
    def base(self) -> str:
        """The model's name; for an adapter, the name of its base model."""
        return self.name if self.adapter is None else str(self.adapter.base)

    @functools.cached_property
    def stored_prompt(self) -> StoredPrompt | None:
        """The prompt stored with the checkpoint; for an adapter without one, that of its base model."""
        own = read_prompt(self.name, {})
        if own is not None or self.adapter is None:
            return own
        revision = self.adapter.base_revision
        return read_prompt(self.base, {} if revision is None else {"revision": revision})

    @property
    def default_prompt(self) -> str:
        """The instruction used when none is given; empty for a model that reads none."""
        if not self.patch.reads_prompts:
            return ""
        return GENERAL_PROMPT if self.stored_prompt is None else self.stored_prompt.text

    @property
    def longest_answer(self) -> int:
        """Default maximum number of new tokens; known before the model is loaded."""
        revision = None if self.adapter is None else self.adapter.base_revision
        try:
            config = self._transformers.GenerationConfig.from_pretrained(self.base, revision=revision)
        except OSError:  # the file does not exist
            return LONGEST_ANSWER
        return config.max_new_tokens or LONGEST_ANSWER

    def _adapter(self) -> StoredAdapter | None:
        try:
            return read_adapter(self.name, {})
        except OSError:
            return None  # the error from AutoConfig is the more relevant one

    def _load_processor(self) -> Any:
        load = self._transformers.AutoProcessor.from_pretrained
        if self.adapter is None:
            return load(self.name)
        try:
            return load(self.name)
        except (OSError, ValueError):  # an adapter may come without a processor
            return load(self.base, revision=self.adapter.base_revision)

    def load_model(self, device: str = "auto", dtype: str = "auto") -> None:
        """Load the model.

        Args:
            device: ``"auto"`` (all available GPUs, or else the CPU), ``"cpu"``, ``"cuda:1"`` and so on.
            dtype: ``"auto"`` (that of the checkpoint) or the name of a torch dtype.
        """
        if device == "auto" and not torch.accelerator.is_available():
            device = "cpu"  # accelerate would offload to disk if memory is short
        model_class = getattr(self._transformers, self.patch.model_classes[0])
        if self.adapter is None:
            self.model = model_class.from_pretrained(self.name, dtype=dtype, device_map=device).eval()
        else:
            self.model = load_adapter(self.name, dtype=dtype, device_map=device).eval()
        if active_config(self.model) is None:
            patch(self.model, "none")  # counts the tokens without changing anything

    def about(self) -> dict[str, str]:
        """The loaded model's name, device and precision, for reports."""
        device, dtype = str(self.model.device), str(self.model.dtype).removeprefix("torch.")
        return {"model": self.name, "device": device, "dtype": dtype}

    def check_speaks(self) -> None:
        """Raise unless the model speaks; it need not be loaded yet.

        Raises:
            UnsupportedModelError: it does not.
        """
        check_speaks(self.config, self.name)

    def prompt(self, instruction: str) -> str:
        """Build the complete prompt for one recording, with the processor's chat template if there is one.

        An instruction that contains the audio placeholder is already a complete prompt and is returned unchanged.
        """
        return whole_prompt(self.processor, self.patch, instruction)

    def prepare(self, recordings: Sequence[Recording], compression: CompressionConfig | None = None) -> Prepared:
        """Compute the features and prompts of a batch of recordings, once for all compressions with one ``long_audio``.

        Args:
            recordings: the recordings.
            compression: one of these compressions; None for the checkpoint's own, if it has one.
        """
        texts = [self.prompt(recording.prompt) for recording in recordings]
        prompts = Prompts(texts, [recording.samples for recording in recordings], [1] * len(recordings))
        return prepare(self.model, processor_for(self.processor, compression or self.stored), prompts)

    def check_length(self, name: str, samples: Samples, compression: CompressionConfig | None = None) -> float:
        """Return how many seconds at the end of a recording the model does not read.

        A recording that is longer than the model's limit is a warning.

        Args:
            name: the recording's name.
            samples: ``(samples,)``, its samples.
            compression: as for `prepare`.

        Raises:
            ValueError: the recording is too short.
        """
        seconds = len(samples) / self.rate
        # With a single token, the upstream Qwen2-Audio code takes its legacy branch, which fails.
        if self.patch.window_tokens(self.patch.mel_frames(self.processor, len(samples))) < 2:
            raise ValueError(f"{name} is too short: {seconds:.3f} s are not two audio tokens.")
        longest = longest_read(self.patch, processor_for(self.processor, compression or self.stored))
        if seconds <= longest:
            return 0.0
        if not self.patch.cuts_longer:
            logger.warning("%s has %.1f s; the model was made for at most %g s.", name, seconds, longest)
            return 0.0
        text = "%s has %.1f s; the model reads the first %g s only.%s"
        logger.warning(text, name, seconds, longest, advice(self.patch))
        return seconds - longest

    def read(
        self,
        batch: Prepared,
        compression: CompressionConfig | None = None,
        max_new_tokens: int | None = None,
        voice: Voice | None = None,
    ) -> tuple[list[Answer], Seconds]:
        """Generate the text for every recording in a batch (greedy decoding), and time it.

        Args:
            batch: the result of `prepare`.
            compression: None for the checkpoint's own compression, if it has one.
            max_new_tokens: None for the limit in the model's generation config, or 128.
            voice: speak the answers, too.
        """
        if compression is not None and compression != self.stored:
            said = untrained(self.model, compression)
            if said is not None and compression.method not in self._untrained:
                self._untrained.add(compression.method)
                logger.warning("%s", said)
            with compressed(self.model, compression):
                return self.read(batch, None, max_new_tokens, voice)
        clock = Clock()
        answers = ask(self.model, self.processor, batch, max_new_tokens, clock=clock, voice=voice)
        return answers, clock.seconds(batch.seconds, voice is not None)
