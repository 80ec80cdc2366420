"""FinetuneArguments: the options of `hf-tokcomp finetune` in addition to transformers' `TrainingArguments`."""

# No `from __future__ import annotations` here: HfArgumentParser reads the types.
import os
from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from ..checkpoints import SMALL_MODEL
from ..config.config import Positions
from ..evaluation.kinds import ALIASES, KINDS, PROMPTS, kind_named
from ..reporting.options import parse_columns

COLUMNS = {"audio": "audio_column", "text": "text_column", "question": "prompt_column"}
"""Fields of `FinetuneArguments` by their role in ``--columns``."""
PARTS = ("language_model", "projector", "audio_tower")


class Ratio(float):
    """A fraction of the audio tokens, which may be written as a fraction: ``1/3``."""

    def __new__(cls, value: float | str) -> "Ratio":
        if isinstance(value, str) and "," in value:
            raise ArgumentTypeError(
                f"{value}: this command takes one. `hf-tokcomp compare` and `hf-tokcomp eval` take several, and "
                "--ratios draws from several at every step"
            )
        try:
            return super().__new__(cls, Fraction(value))
        except ZeroDivisionError as error:
            raise ValueError(f"{value!r} is not a number.") from error  # argparse handles ValueError


class TaskName(str):
    """The name of a task, or a former name of it, as parsed by argparse."""

    def __new__(cls, value: str) -> "TaskName":
        if value not in (*KINDS, *ALIASES):
            raise ArgumentTypeError(f"there is no task {value!r}; there are {', '.join(KINDS)}")
        return super().__new__(cls, value)


@dataclass
class FinetuneArguments:
    """Model, compression, data and adapter of a run; each field is described by its help text."""

    dataset: str = field(
        default="", metadata={"help": "Training data: Hub id, folder, or a .jsonl, .json, .csv, .tsv or .parquet file."}
    )
    columns: str | None = field(
        default=None,
        metadata={
            "help": "Columns of audio, text and question, as audio:NAME,text:NAME, if they are unusual; "
            "question: alone for no question."
        },
    )
    model: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of a model. Default: the small one that ships with the package."},
    )
    model_revision: str | None = field(default=None, metadata={"help": "The model's revision."})
    compression: str | None = field(
        default=None,
        metadata={
            "help": "The compression to train under: a method, with options as in ltbm:window=4, or several in a row, "
            "as in ltbm+top_k; JSON, a folder or a Hub id. Default: the one stored with the model, or none."
        },
    )
    retention_ratio: Ratio | None = field(
        default=None,
        metadata={"help": "Fraction of the audio tokens to keep, above 0 and at most 1, such as 0.25 or 1/4."},
    )
    positions: Positions | None = field(
        default=None,
        metadata={
            "help": "Positions of the tokens that are kept: contiguous (renumbered) or original (as in the full "
            "prompt)."
        },
    )
    task: TaskName = field(
        default=TaskName("asr"),
        metadata={"help": f"The task, which determines prompt and metric: {', '.join(KINDS)}."},
    )
    prompt: str | None = field(
        default=None, metadata={"help": "The question, if the data has none. Default: the task's."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a data set on the Hub."})
    split: str = field(default="train", metadata={"help": "Training split."})
    eval_dataset: str | None = field(
        default=None, metadata={"help": "Held-out data. Default: the split of --dataset that --eval-split names."}
    )
    eval_split: str | None = field(
        default=None, metadata={"help": "Held-out split. Default: test of --eval-dataset, if that is given."}
    )
    audio_column: str | None = field(default=None, metadata={"help": "The same as --columns audio:NAME."})
    text_column: str | None = field(default=None, metadata={"help": "The same as --columns text:NAME."})
    prompt_column: str | None = field(default=None, metadata={"help": "The same as --columns question:NAME."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first N rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on the first N rows."})
    on_error: Literal["stop", "skip"] = field(
        default="stop", metadata={"help": "What to do about rows that cannot be used: stop, or skip and count them."}
    )
    skip_bad: bool = field(default=False, metadata={"help": "Earlier spelling of --on-error skip."})
    long_audio: Literal["error", "cut"] = field(
        default="error",
        metadata={
            "help": "What to do about recordings longer than the model reads: treat them as bad rows, or cut them."
        },
    )
    no_check: bool = field(default=False, metadata={"help": "Do not read all audio before training."})
    adapt: list[str] = field(
        default_factory=lambda: ["language_model"],
        metadata={"help": f"Parts that get LoRA: {', '.join(PARTS)}.", "choices": list(PARTS)},
    )
    lora_r: int = field(default=16, metadata={"help": "LoRA's rank."})
    lora_alpha: int = field(default=32, metadata={"help": "LoRA's alpha: the scale is alpha over the rank."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapter."})
    ratios: list[Ratio] | None = field(
        default=None,
        metadata={
            "help": "Retention ratios to draw from at every step, such as 1/2,1/4; one adapter then serves all of them."
        },
    )
    curriculum: float = field(
        default=0.0,
        metadata={"help": "Share of the training during which the ratio falls from 1 to the requested one."},
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto", metadata={"help": "Precision of the base model; auto is that of the checkpoint."}
    )
    load_in_4bit: bool = field(
        default=False, metadata={"help": "Load the base model in 4 bits (QLoRA); needs bitsandbytes."}
    )
    load_in_8bit: bool = field(default=False, metadata={"help": "Load the base model in 8 bits; needs bitsandbytes."})
    max_new_tokens: int = field(default=128, metadata={"help": "Maximum length of an answer in the evaluation."})
    evaluate_uncompressed: bool = field(
        default=False, metadata={"help": "Also evaluate the untrained model with all tokens."}
    )
    push: bool = field(
        default=False,
        metadata={"help": "Share the result on the Hub, with its card; --hub-model-id names the repository."},
    )
    base_model: str | None = field(
        default=None, metadata={"help": "Hub id of the base model, for the card, if --model is a folder."}
    )
    license: str | None = field(default=None, metadata={"help": "The adapter's licence, by the Hub's identifier."})

    def __post_init__(self) -> None:
        self.task = TaskName(kind_named(self.task))
        for role, name in parse_columns(self.columns, may_be_none=("question",)).items():
            if role not in COLUMNS:
                raise ValueError(f"--columns: there is no role {role!r}; there are {', '.join(COLUMNS)}.")
            setattr(self, COLUMNS[role], name)

    @property
    def model_name(self) -> str:
        """The folder or Hub id of the model."""
        return os.path.expanduser(self.model) if self.model else str(SMALL_MODEL)

    @property
    def skips(self) -> bool:
        """Whether unusable rows are skipped."""
        return self.skip_bad or self.on_error == "skip"

    @property
    def scheduled(self) -> bool:
        """Whether the retention ratio changes during training."""
        return self.ratios is not None or self.curriculum > 0

    def instruction(self) -> str | None:
        """The prompt for rows without one of their own; None if every row must have one."""
        return self.prompt or PROMPTS[self.task] or None

    def check(self) -> None:
        """Raise if the arguments contradict each other.

        Raises:
            ValueError: they do; the message names the flags.
        """
        if not self.dataset:
            raise ValueError(
                "--dataset is missing: a Hub id, a folder, or a .jsonl, .json, .csv, .tsv or .parquet file."
            )
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("--load-in-4bit and --load-in-8bit cannot be combined.")
        if not self.adapt:
            raise ValueError(f"--adapt needs a part: {', '.join(PARTS)}.")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"--lora-dropout must be at least 0 and below 1, not {self.lora_dropout}.")
        unknown = [part for part in self.adapt if part not in PARTS]
        if unknown:
            raise ValueError(f"--adapt takes {', '.join(PARTS)}, not {', '.join(unknown)}.")
        for name in ("max_train_samples", "max_eval_samples", "lora_r", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
