"""ServedModel: the model that an engine serves in the benchmark, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...audio.loading import Samples
from ...models.base import ModelPatch
from ...models.registry import PATCHES, load_patch
from ...models.windows import AudioInputs
from ...serving.vllm.served import architecture_of
from ..speed.architectures import config_of
from ..speed.prompts import Prompter
from ..speed.sounds import draw_sound
from ..speed.subject import LONG

Prompt = str | list[int]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model to serve. Only its config and its processor are read here.

    Args:
        name: its name in reports.
        config: its transformers config.
        patch: its patch.
        prompt: the prompt with one placeholder, as text or as ids.
        rate: sampling rate of its sounds.
        window_seconds: length of one window of its encoder, or `LONG`.
        longest_seconds: maximum length of an audio.
        prepare: function from a sound ``(samples,)`` to the inputs of the transformers model.
        folder: function to a context in which there is a folder, or Hub id, that the engine can load.
        engine: keywords for the engine.
        facts: facts about its weights and layers, for reports.
    """

    name: str
    config: Any
    patch: ModelPatch
    prompt: Prompt
    rate: int
    window_seconds: float
    longest_seconds: float
    prepare: Callable[[Samples], Mapping[str, Any]]
    folder: Callable[[], Any]
    engine: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def seconds(self, asked: float | None) -> float:
        """Length of the clips.

        Raises:
            ValueError: the model reads less of an audio, or gets fewer than two tokens from it.
        """
        found = self.window_seconds if asked is None else asked
        if found > self.longest_seconds:
            raise ValueError(f"{self.name} reads {self.longest_seconds:g} s of an audio at most, not {found:g} s.")
        if self.patch.window_tokens(int(found * 100)) < 2:
            raise ValueError(f"{found:g} s of audio make fewer than two audio tokens; measure longer audio.")
        return found

    def audio(self, seconds: float) -> AudioInputs:
        """What the model's encoder reads of a clip of this length."""
        return self.patch.audio_inputs(self.prepare(draw_sound(seconds, self.rate)))


def tokens_of(patch: ModelPatch, audio: AudioInputs) -> int:
    """Tokens of one audio before compression."""
    frames = [int(n) for n in audio.frames.tolist()]
    return sum(frames if audio.counts_tokens else map(patch.window_tokens, frames))


def stored_model(name: str) -> ServedModel:
    """A model from a folder or the Hub.

    Raises:
        ValueError: `name` is an adapter.
        UnsupportedModelError: the model is not served under compression.
        what `hf_tokcomp.inference.reader.Reader` raises.
    """
    from ...inference.prompts import model_inputs
    from ...inference.reader import Reader
    from ...inference.recordings import GENERAL_PROMPT

    reader = Reader(name)
    if reader.adapter is not None:
        raise ValueError(f"{name} is an adapter, and as fast as its base model; measure {reader.base}.")
    architecture_of(reader.patch.model_type)
    prompt, processor = reader.prompt(GENERAL_PROMPT), reader.processor
    longest = reader.patch.longest_audio(processor)
    window = float(getattr(getattr(processor, reader.patch.extractor), "chunk_length", LONG))

    def prepare(sound: Samples) -> Mapping[str, Any]:
        return model_inputs(processor, [prompt], [sound], reader.rate)  # type: ignore[no-any-return]

    @contextmanager
    def folder() -> Iterator[str]:
        yield reader.name

    return ServedModel(
        name,
        reader.config,
        reader.patch,
        prompt,
        reader.rate,
        min(window, LONG, longest),
        longest,
        prepare,
        folder,
        facts={"weights": "its own", "layers": None},
    )


def random_model(name: str, values: Mapping[str, Any], layers: int | None = None) -> ServedModel:
    """A model with random weights, which the engine draws itself.

    Args:
        name: its name in reports.
        values: its sizes, as returned by `sizes_of`.
        layers: number of layers kept in each stack, for the report; None for all.

    Raises:
        UnsupportedModelError: the model is not served under compression.
    """
    architecture_of(values["model_type"])
    config, patch = config_of(values), load_patch(PATCHES[values["model_type"]])
    prompter = Prompter(config, patch)

    @contextmanager
    def folder() -> Iterator[str]:
        with TemporaryDirectory() as place:
            _write(Path(place), config, patch, prompter)
            yield place

    return ServedModel(
        name,
        config,
        patch,
        [*prompter.before, prompter.audio_token, *prompter.behind],
        prompter.rate,
        prompter.window_seconds,
        prompter.longest_seconds,
        lambda sound: prompter([sound]),
        folder,
        {"load_format": "dummy"},
        {"weights": "random", "layers": layers},
    )


def _write(folder: Path, config: Any, patch: ModelPatch, prompter: Prompter) -> None:
    """Write all of a checkpoint but its weights. Prompts are ids, so the tokenizer has no more words than it must."""
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = int(config.get_text_config().vocab_size)
    placeholder = prompter.audio_token
    # What the processors ask for by name, on ids that are not the placeholder's.
    names = ["<|audio_bos|>", "<|audio_eos|>", "<pad>", "<eos>", "<unk>"]
    free = [token for token in range(vocabulary) if token != placeholder][: len(names)]
    ids = dict(zip(names, free, strict=True)) | {_placeholder(patch): placeholder}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(ids, unk_token="<unk>")),
        additional_special_tokens=[name for name in ids if name not in ("<pad>", "<eos>", "<unk>")],
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
    )
    processor: Any = getattr(transformers, patch.processor_class)
    processor(prompter.extractor, tokenizer).save_pretrained(folder)
    config.save_pretrained(folder)


def _placeholder(patch: ModelPatch) -> str:
    """The placeholder as the model's processor writes it by default."""
    import inspect

    import transformers

    processor: Any = getattr(transformers, patch.processor_class)
    return str(inspect.signature(processor.__init__).parameters["audio_token"].default)
