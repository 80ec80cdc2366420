"""Measures what LoRA fine-tuning recovers: word error rates of the small model on digit strings, before and after.

``python -m recipes.finetuning FOLDER --data RECORDINGS`` trains one adapter per method and seed on mixed
retention ratios, measures it at each of them, and prints a table; ``--quick`` uses one seed and one ratio. Results
already in FOLDER are reused, and an interrupted training resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hf_tokcomp.hub.whole_files import write_whole

logger = logging.getLogger(__name__)

METHODS = ("none", "average_pooling", "stride", "segmentation", "ltbm", "conv_resampler", "query_resampler")
RATIOS = ("1/2", "1/3", "1/4", "1/6")
QUICK_RATIO = "1/3"
STEPS, QUICK_STEPS = 400, 150
RESULTS = "results.json"


@dataclass(frozen=True)
class Job:
    """One adapter to train and measure.

    Args:
        folder: the output folder.
        method: key of the method; ``none`` is the uncompressed model with the same training.
        ratios: the retention ratios for training and measuring.
        seed: seed of the adapter's weights, the order of rows and the draws of ratios.
        steps: number of optimizer steps.
        rows: rows per step.
        learning_rate: the peak learning rate.
        rank: rank of the LoRA adapter.
    """

    folder: Path
    method: str
    ratios: tuple[str, ...]
    seed: int
    steps: int
    rows: int
    learning_rate: float
    rank: int

    @property
    def output(self) -> Path:
        return self.folder / f"{self.method}-{_slug(self.ratios)}-seed{self.seed}"

    def compression(self, ratio: str) -> dict[str, Any]:
        """The config at a ratio, with positions as in the full prompt, which suits this model (docs/results.md)."""
        if self.method == "none":
            return {"method": "none"}
        return {"method": self.method, "retention_ratio": float(Fraction(ratio)), "positions": "original"}


def run(job: Job) -> None:
    """Train and measure, unless this is already done."""
    file = job.output / RESULTS
    if file.is_file():
        return
    import torch

    torch.set_num_threads(1)  # fastest for models this small, with one process per core
    before = measure(job, None) if job.seed == 0 else {}  # does not depend on the seed
    train(job)
    after = measure(job, job.output)
    values = {
        "method": job.method,
        "seed": job.seed,
        "steps": job.steps,
        "rows_per_step": job.rows,
        "learning_rate": job.learning_rate,
        "rank": job.rank,
        "before": before,
        "after": after,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
    }
    write_whole(file, json.dumps(values, indent=2) + "\n")


def train(job: Job) -> None:
    """Run `hf-tokcomp finetune`, built from its own arguments."""
    from transformers import TrainingArguments

    from hf_tokcomp.checkpoints import SMALL_MODEL
    from hf_tokcomp.config.config import CompressionConfig
    from hf_tokcomp.training.arguments import FinetuneArguments, Ratio
    from hf_tokcomp.training.finetune import finetune

    if (job.output / "adapter_config.json").is_file():
        return
    mixed = job.method != "none" and len(job.ratios) > 1
    options = FinetuneArguments(
        dataset=str(job.folder / "train" / "manifest.jsonl"),
        model=str(SMALL_MODEL),
        adapt=["language_model", "projector"],
        lora_r=job.rank,
        lora_alpha=2 * job.rank,
        lora_dropout=0.0,
        ratios=[Ratio(ratio) for ratio in job.ratios] if mixed else None,
    )
    args = TrainingArguments(
        output_dir=str(job.output),
        max_steps=job.steps,
        per_device_train_batch_size=job.rows,
        learning_rate=job.learning_rate,
        lr_scheduler_type="cosine",
        train_sampling_strategy="group_by_length",
        warmup_steps=job.steps // 10,
        logging_steps=25,
        save_steps=100,
        save_total_limit=1,
        seed=job.seed,
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
        resume_from_checkpoint="last" if list(job.output.glob("checkpoint-*/trainer_state.json")) else None,
    )
    finetune(options, args, CompressionConfig.from_dict(job.compression(job.ratios[0])))


def measure(job: Job, adapter: Path | None) -> dict[str, dict[str, float]]:
    """The word errors by ratio."""
    import transformers

    from hf_tokcomp.checkpoints import SMALL_MODEL
    from hf_tokcomp.config.config import CompressionConfig
    from hf_tokcomp.data import load_examples
    from hf_tokcomp.loading.adapters import load_adapter
    from hf_tokcomp.models.instance import learned_weights
    from hf_tokcomp.patching.patch import set_config
    from hf_tokcomp.training import AudioTextCollator, GenerationMetrics

    rows = load_examples(str(job.folder / "test" / "manifest.jsonl"), check=False).dataset
    collator = AudioTextCollator(transformers.AutoProcessor.from_pretrained(SMALL_MODEL))
    measuring = GenerationMetrics(collator, "asr", batch_size=50, max_new_tokens=12)
    ratios = job.ratios if job.method != "none" else ("1",)
    compression = job.compression(job.ratios[0])
    model_class = transformers.Qwen2AudioForConditionalGeneration
    if adapter is None:
        model = model_class.from_pretrained(SMALL_MODEL, compression=compression)
        if learned_weights(model):
            return {}  # untrained it is equivalent to average pooling, so not useful
    else:
        model = load_adapter(adapter)
    found = {}
    for ratio in ratios:
        set_config(model, CompressionConfig.from_dict(job.compression(ratio)))
        values = measuring.measure(model, rows)
        # Rates as fractions, as in the measurements stored under docs/evidence.
        found[ratio] = {name: value if name == "tokens_kept" else value / 100 for name, value in values.items()}
    return found


def prepare(folder: Path, data: Path, train_count: int, test_count: int) -> None:
    """Write strings of digits for training and for measuring, from different recordings of the same speakers."""
    from hf_tokcomp.checkpoints.test_sets.items import digit_strings

    from .small_model.test_set import write

    for name, split, count, seed in (("train", "train", train_count, 11), ("test", "test", test_count, 1)):
        if not (folder / name / "manifest.jsonl").is_file():
            write(folder / name, digit_strings(data, split, count, seed), name)  # type: ignore[arg-type]


def table(folder: Path, ratios: Sequence[str]) -> str:
    """The available results as a Markdown table: word error rates in percent, mean and spread over seeds."""
    files = sorted(folder.glob(f"*-{_slug(ratios)}-seed*/{RESULTS}"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    lines = ["| method | training | seeds | " + " | ".join(ratios) + " |", "|---|---|---|" + "---|" * len(ratios)]
    known = dict.fromkeys((*METHODS, *(values["method"] for values in found)))
    for method in known:
        for when, name in (("before", "none"), ("after", "LoRA")):
            measured = [values[when] for values in found if values["method"] == method and values[when]]
            if measured:
                seeds = str(len(measured)) if when == "after" else ""
                cells = [name, seeds, *(_cell(measured, ratio) for ratio in ratios)]
                lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _slug(ratios: Sequence[str]) -> str:
    return "-".join(ratio.replace("/", "_") for ratio in ratios)


def _cell(measured: Sequence[dict[str, dict[str, float]]], ratio: str) -> str:
    rates = [100 * values.get(ratio, values.get("1", {}))["wer"] for values in measured]
    if len(set(rates)) == 1:
        return f"{rates[0]:.1f}"
    return f"{statistics.mean(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    from hf_tokcomp.checkpoints.test_sets.sources import data_folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where strings, adapters and results go")
    parser.add_argument("--data", help="folder with digits/; default: $HF_TOKCOMP_DATA")
    parser.add_argument("--quick", action="store_true", help=f"one seed, at {QUICK_RATIO} alone, fewer steps")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, help=f"optimizer steps; default {STEPS}, with --quick {QUICK_STEPS}")
    parser.add_argument("--rows", type=int, default=32, help="strings per step")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--train-strings", type=int, default=4000)
    parser.add_argument("--test-strings", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2, help="trainings at the same time")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    prepare(given.folder, data_folder(given.data), given.train_strings, given.test_strings)
    ratios = (QUICK_RATIO,) if given.quick else RATIOS
    steps = given.steps or (QUICK_STEPS if given.quick else STEPS)
    jobs = [
        Job(given.folder, method, ratios, seed, steps, given.rows, given.learning_rate, given.rank)
        for seed in range(1 if given.quick else given.seeds)
        for method in given.methods.split(",")
    ]
    jobs = [job for job in jobs if not (job.output / RESULTS).is_file()]
    logger.info("%d adapters to train or measure.\n%s", len(jobs), table(given.folder, ratios))
    if given.workers == 1:
        _finish(map(run, jobs), len(jobs), given.folder, ratios)
        return
    with get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool:
        _finish(pool.imap_unordered(run, jobs), len(jobs), given.folder, ratios)


def _finish(runs: Iterable[None], count: int, folder: Path, ratios: Sequence[str]) -> None:
    for number, _ in enumerate(runs, start=1):
        logger.info("%d of %d adapters are done.\n%s", number, count, table(folder, ratios))


if __name__ == "__main__":
    main()
