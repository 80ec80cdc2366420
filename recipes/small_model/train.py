"""Trains the small model, from scratch or from an earlier checkpoint, in one to two hours on two CPU cores.

``HF_TOKCOMP_DATA=FOLDER python -m recipes.small_model.train --output CHECKPOINT``

No audio token is dropped, pooled or merged here: the model learns to read all of them, as the large ones did, so that
it shows the cost of compression.
"""

import argparse
import copy
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from hf_tokcomp.checkpoints.test_sets.prompts import DIGITS_PROMPT
from hf_tokcomp.checkpoints.test_sets.sources import data_folder
from hf_tokcomp.hub.prompt_file import StoredPrompt, write_prompt

from . import evaluate
from .auxiliary import AuxiliaryHeads
from .batches import Batcher
from .data import Example, ExampleMaker
from .model import WIDTH, answer_logits, build_model, build_processor, carry_over, encode, token_counts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Settings of a training run: `steps` batches of `batch` examples, or fewer if they take more than `minutes`.

    `sounds` is the share of sound clips among the examples, the rest are digits; `questions` is the share of
    multiple-choice questions among the clips, the rest are captions. `auxiliary` and `options` are the initial weights
    of the losses inside the encoder and the language model, which decay. With `start_from`, training continues from
    that checkpoint, on strings of full length from the start.
    """

    steps: int = 4200
    minutes: float | None = None
    start_from: Path | None = None
    batch: int = 32
    learning_rate: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.05
    seed: int = 0
    leave_out: str | None = None
    sounds: float = 0.7
    questions: float = 0.5
    auxiliary: float = 0.5
    options: float = 0.5
    synthetic: int = 60
    bfloat16: bool = True


class Average:
    """A running average of the model's weights, which performs better than the weights of the last step."""

    def __init__(self, model: Qwen2AudioForConditionalGeneration, decay: float = 0.999) -> None:
        self.model, self.decay, self.seen = copy.deepcopy(model).train(False), decay, 0

    @torch.no_grad()
    def update(self, model: Qwen2AudioForConditionalGeneration) -> None:
        self.seen += 1
        decay = min(self.decay, self.seen / (self.seen + 10))
        for mean, new in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)


def learning_rate(step: int, progress: float, settings: Settings) -> float:
    """Linear warm-up over the first steps, times a cosine decay to 1 % of the peak; `progress` goes from 0 to 1."""
    warm = min(1.0, (step + 1) / settings.warmup)
    return settings.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


def batches(batcher: Batcher, settings: Settings) -> Iterator[tuple[float, list[Example]]]:
    """All batches of a run with its progress from 0 to 1; strings grow from two digits to six over the first third.

    On a shared machine the time of a step is unpredictable: with `minutes`, progress is the larger of the fractions of
    time and steps used, so the run ends in time with a low learning rate.
    """
    started = time.monotonic()
    waiting: list[list[Example]] = []
    for step in range(settings.steps):
        progress = step / settings.steps
        if settings.minutes is not None:
            progress = max(progress, (time.monotonic() - started) / (60 * settings.minutes))
        if progress >= 1:
            return
        if not waiting:
            longest = 6 if settings.start_from else min(6, 2 + int(12 * progress))
            waiting = batcher.batches(settings.batch, longest, settings.sounds, settings.questions)
        yield progress, waiting.pop()


def train(data: Path, output: Path, settings: Settings, report_every: int = 100, save_every: float = 600.0) -> None:
    """Trains with `settings` and saves model and processor to `output`, with a snapshot every `save_every` seconds."""
    torch.manual_seed(settings.seed)
    processor = build_processor()
    model = build_model(processor.tokenizer).train()
    model.set_attn_implementation({"text_config": "eager"})  # its weights are trained on; not saved
    if settings.start_from is not None:
        carry_over(model, processor.tokenizer.get_vocab(), settings.start_from)
    heads = AuxiliaryHeads(WIDTH, processor.tokenizer)
    average = Average(model)
    maker = ExampleMaker(data, settings.seed, settings.leave_out, settings.synthetic)
    batcher = Batcher(processor, maker)
    trained = [p for p in (*model.parameters(), *heads.parameters()) if p.requires_grad]
    decayed, plain = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
    log.info("%.2f M parameters, %d steps of %d", model.num_parameters() / 1e6, settings.steps, settings.batch)
    started = saved = time.monotonic()
    recent: list[tuple[float, float]] = []
    step = 0
    for step, (progress, examples) in enumerate(batches(batcher, settings)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress, settings)
        # Once the encoder works, its own losses only pull it away from what the language model needs.
        fade = max(0.0, 1 - progress / 0.6)
        features, frames = batcher.features(examples)
        counts = token_counts(frames)
        ids, asked, predicting, wanted = batcher.texts(examples, counts)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            states = encode(model, features, frames)
            logits, hidden, attention = answer_logits(model, states, counts, ids, predicting)
            auxiliary = logits.new_zeros(())
            if fade * settings.auxiliary > 0:
                auxiliary = auxiliary + fade * settings.auxiliary * heads(states, counts, examples)
            if fade * settings.options > 0:
                looked = heads.of_options(hidden, attention, ids, asked, examples)
                auxiliary = auxiliary + fade * settings.options * looked
        loss = nn.functional.cross_entropy(logits.float(), wanted)
        optimizer.zero_grad()
        torch.autograd.backward(loss + auxiliary)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average.update(model)
        recent.append((loss.item(), auxiliary.item()))
        if (step + 1) % report_every == 0:
            means = np.mean(recent, axis=0)
            elapsed = time.monotonic() - started
            log.info("step %d, %.0f s, loss %.3f, auxiliary %.3f", step + 1, elapsed, *means)
            recent.clear()
        if time.monotonic() - saved > save_every:
            save(average.model, processor, output / "unfinished")
            saved = time.monotonic()
            # For monitoring only: the last average is saved, whatever these values are.
            watched = [
                measure(average.model, processor, data, 100, seed=1000) for measure in evaluate.MEASURES.values()
            ]
            log.info("step %d: %s", step + 1, "; ".join(map(evaluate.summary, watched)))
    save(average.model, processor, output)
    log.info("Finished %d steps after %.1f minutes", step + 1, (time.monotonic() - started) / 60)


def save(model: Qwen2AudioForConditionalGeneration, processor: Qwen2AudioProcessor, folder: Path) -> None:
    """Writes model, processor and prompt, with dropout disabled as in the large models, for later fine-tuning."""
    model = copy.deepcopy(model)
    model.model.audio_tower.config.dropout = 0.0  # the same object as model.config.audio_config
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_prompt(folder, StoredPrompt(DIGITS_PROMPT, "asr"))


def main() -> None:
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--data", help="folder with digits/ and sounds/; default: $HF_TOKCOMP_DATA")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--minutes", type=float, help="end after this time even if not all steps are done")
    parser.add_argument("--start-from", type=Path, help="a checkpoint of this recipe to train further")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate, help="the highest")
    parser.add_argument("--warmup", type=int, default=defaults.warmup, help="steps until the highest learning rate")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--leave-out", help="a speaker none of whose recordings are used")
    parser.add_argument("--sounds", type=float, default=defaults.sounds, help="share of clips; the rest are digits")
    parser.add_argument("--questions", type=float, default=defaults.questions, help="share of questions among clips")
    parser.add_argument(
        "--auxiliary", type=float, default=defaults.auxiliary, help="first weight of the losses on the encoder"
    )
    parser.add_argument("--options", type=float, default=defaults.options, help="first weight of those on options")
    parser.add_argument("--no-synthetic", action="store_true", help="train without espeak-ng's voices")
    parser.add_argument("--no-bfloat16", action="store_true", help="compute in float32 throughout")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=float, default=600.0, help="seconds between copies that are also measured")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    settings = Settings(
        steps=arguments.steps,
        minutes=arguments.minutes,
        start_from=arguments.start_from,
        learning_rate=arguments.learning_rate,
        warmup=arguments.warmup,
        seed=arguments.seed,
        leave_out=arguments.leave_out,
        sounds=arguments.sounds,
        questions=arguments.questions,
        auxiliary=arguments.auxiliary,
        options=arguments.options,
        synthetic=0 if arguments.no_synthetic else defaults.synthetic,
        bfloat16=not arguments.no_bfloat16,
    )
    train(data_folder(arguments.data), arguments.output, settings, save_every=arguments.save_every)


if __name__ == "__main__":
    main()
