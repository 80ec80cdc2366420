"""A compression in words: its budget, options and limitations."""

from __future__ import annotations

from ..config.config import BUDGETS, CHUNKS, ENCODER, READING, CompressionConfig
from ..config.measured import words_right
from ..config.registry import get_method
from ..models.base import ModelPatch
from .citations import methods_of

SECONDS = 30
"""Length of the audio that token counts refer to."""
EXAMPLE = 25.0
"""Tokens per second assumed for a compression without a model; the card says that it is an example."""
POSITIONS = {
    "contiguous": "`contiguous`: the shortened prompt is renumbered",
    "original": "`original`: every token keeps the position it had in the full prompt",
}
SHARED = {"method", "positions", "stages", "schema_version", "hf_tokcomp_version", *BUDGETS, *CHUNKS, *READING}


def code(text: str) -> str:
    """A user's text as inline code, on one line."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line}`"


def budget(config: CompressionConfig, frame_rate: float | None) -> str:
    """How many tokens are kept, in words: a share together with the model's tokens per second, where they are known."""
    whole = "an audio's tokens" if frame_rate is None else f"an audio's {frame_rate:g} tokens a second"
    stages = getattr(config, "stages", ())
    if stages:
        said = [f"{budget(stage, frame_rate)} by `{stage.method}`" for stage in stages]
        return ", then ".join([said[0], *(each.replace(whole, "what is left") for each in said[1:])])
    if not config.deterministic_length:
        return "as many tokens as the content asks for"
    if config.retention_ratio is not None:
        return f"{100 * config.retention_ratio:g} % of {whole}"
    if config.tokens_per_second is not None:
        return f"{config.tokens_per_second:g} tokens per second of audio"
    if config.max_tokens is not None:
        return f"at most {config.max_tokens} tokens per audio"
    return "all tokens"


def counts(config: CompressionConfig, frame_rate: float) -> tuple[int, int | None]:
    """Tokens of `SECONDS` of audio before and after compression; None for the latter if it depends on content."""
    before = round(SECONDS * frame_rate)
    return before, config.output_length(before, frame_rate) if config.deterministic_length else None


def title(config: CompressionConfig) -> str:
    """The methods in the order in which they are applied."""
    return " + ".join(f"`{name}`" for name in methods_of(config))


def method(name: str) -> str:
    """What a method does, and what it did with real weights if that was measured."""
    shown = words_right(name)
    return f"`{name}`: {get_method(name).idea}" + (f" Measured: {shown}" if shown else "")


def facts(config: CompressionConfig, patch: ModelPatch | None) -> list[tuple[str, str]]:
    """The settings as table rows; the counts are an example if the model is unknown."""
    known = None if patch is None else patch.frame_rate
    rate = EXAMPLE if known is None else known
    audio = f"{SECONDS} s of audio" + ("" if known is not None else f", for a model that makes {rate:g} a second")
    before, after = counts(config, rate)
    rows = [("method", title(config)), ("budget", budget(config, known))]
    if after is None:
        rows.append((audio, f"{before} tokens; how many are left depends on the content"))
    else:
        rows.append((audio, f"{before} tokens before, {after} after"))
        rows.append(("tokens per second", f"{rate:g} before, {after / SECONDS:.3g} after"))
    if patch is None or patch.reads_prompts:
        rows.append(("positions", POSITIONS[config.positions]))
    if config.chunk_length is not None:
        shared = "by content" if config.allocation == "content" else "evenly"
        rows.append(("chunks", f"of at most {config.chunk_length:g} s, the budget shared {shared}"))
    encoder = {name: value for name, value in config.to_dict().items() if name in ENCODER}
    if encoder:
        rows.append(("encoder", ", ".join(f"`{name}` {value}" for name, value in encoder.items())))
    if config.long_audio == "windows":
        rows.append(("long audio", "in windows, which share one budget; the processor must be patched, too"))
    padding = config.padding_seconds
    if padding is None and patch is not None:
        padding = patch.padding_seconds
    if padding is not None and not config.is_upstream:
        rows.append(("padding", f"up to {padding:g} s of it, `padding_seconds`, are read besides the compressed sound"))
    options = {name: value for name, value in config.to_dict().items() if name not in SHARED}
    if options:
        rows.append(("options", ", ".join(f"`{name}` {value}" for name, value in options.items())))
    return rows


def limits(config: CompressionConfig, trained: bool | None, patch: ModelPatch | None) -> list[str]:
    """What a user should know before using it.

    Args:
        config: the compression.
        trained: whether it comes with weights that were trained under it; None if unknown.
        patch: the patch of the model; None if its type is unknown.
    """
    prompted = patch is None or patch.reads_prompts
    half = "half of the tokens" if patch is None else f"half of the {patch.frame_rate:g} tokens a second"
    said = [
        "Prefill gets faster and the key-value cache smaller. Decoding does not get faster: the time per generated "
        "token hardly changes, and the audio encoder still reads the whole audio."
        if prompted
        else "The cache of the decoder's cross-attention gets smaller, which saves time where many recordings are "
        "decoded together. One alone hardly gets faster: the encoder still reads its whole window.",
        "`hf_tokcomp` must be imported before the model is loaded. Without it a model of transformers reads all "
        "tokens, uncompressed.",
    ]
    if config.encoder.reduces:
        said.append(
            "The encoder's layers see fewer positions than there are. That makes them faster and the answers worse: "
            "measure on your task."
        )
    if config.method == "none":
        faster = "nothing gets" if config.is_upstream else "only the encoder may get"
        return [f"All tokens are kept: {faster} faster or smaller.", *said[1:]]
    if not trained:
        begin = "Nothing was trained here." if trained is False else "No training under this compression is known of."
        said.append(
            f"{begin} Without training, compression costs accuracy, and how much depends on the task: measure on yours."
        )
        families = {get_method(name).family for name in methods_of(config)}
        if families & {"pruning", "hybrid", "sampling"}:
            said.append(
                "Pruning without training hurts speech recognition: a dropped token is a sound that nobody heard. For "
                f"transcripts, merge or average, keep {half} or more, and train."
            )
        else:
            said.append(
                f"Speech recognition suffers first. For transcripts keep {half} or more, and train; methods that prune "
                "are worse there than those that merge."
            )
    if any(get_method(name).learns for name in methods_of(config)):
        said.append(
            "The compressor has weights to learn. Without trained ones they are newly initialized: load them with the "
            "model or the adapter they were trained in."
        )
    if not prompted:
        if config.positions == "original":
            said.append('`positions="original"` has no effect: what the decoder attends to has no positions there.')
        return said
    if config.positions == "original":
        said.append(
            "Tokens keep their places in time. Serving engines renumber the prompt, which is another compression: what "
            "holds here need not hold there."
        )
    else:
        said.append(
            "The prompt is renumbered, so the model no longer sees how far apart two sounds were. "
            '`positions="original"` keeps the scale of time; try both.'
        )
    if not config.deterministic_length:
        said.append("The number of tokens depends on the content, so a processor cannot announce it.")
    return said
