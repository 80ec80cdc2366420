"""make_trainer: a model, rows and a compression as a plain `transformers.Trainer`."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, Literal

from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.integrations import is_deepspeed_zero3_enabled

from ..metrics import Metric, Task
from ..patching import Compression, active_config, patch
from .callbacks import GenerationMetrics, TokensKept, _Logging
from .collator import AudioTextCollator
from .lora import lora_config


def make_trainer(
    model: Any,
    train_dataset: Any,
    args: TrainingArguments,
    *,
    processor: Any,
    compression: Compression | None = None,
    prompt: str | None = None,
    task: Task | Metric | None = None,
    eval_dataset: Any = None,
    lora: Any = None,
    long_audio: Literal["error", "cut"] = "error",
    max_new_tokens: int = 128,
    callbacks: Sequence[TrainerCallback] = (),
    **options: Any,
) -> Trainer:
    """A `transformers.Trainer` that fine-tunes a model under compression with LoRA.

    Nothing is hidden: the same can be had by hand with `hf_tokcomp.patch`, `lora_config`, `peft.get_peft_model`,
    `AudioTextCollator` and `Trainer`. Of ``args`` four settings are changed, on a copy: ``remove_unused_columns`` is
    False, since the collator reads the rows themselves; ``label_names`` is ``["labels"]``, without which `Trainer` has
    no loss of a PeftModel to evaluate; ``prediction_loss_only`` is True, since logits have a length of their own,
    unless ``compute_metrics`` is among the options; and ``ddp_find_unused_parameters`` is False if nobody set it, since
    every weight of the adapter is used in every step.

    Args:
        model: a supported model, compressed already or not, in PEFT already or not.
        train_dataset: rows ``{"audio", "text"}`` and perhaps ``"prompt"``, as `AudioTextCollator` takes them.
        args: transformers' own.
        processor: the model's.
        compression: what to train under; None for what the model is patched with, or ``none``.
        prompt: the instruction for rows without their own.
        task: measure answers about ``eval_dataset`` at every evaluation, by this task's metric.
        eval_dataset: held-out rows, for the loss and for ``task``.
        lora: a `peft.LoraConfig`; None for `lora_config`'s.
        long_audio: what becomes of recordings longer than the model reads, see `AudioTextCollator`.
        max_new_tokens: the longest answer that is generated for ``task``.
        callbacks: more of them.
        options: more of `Trainer`.

    Raises:
        UnsupportedModelError: there is no patch for the model.
        CompressionConfigError: the compression is unknown or contradictory.
        ValueError: a task without held-out rows, or where processes have pieces of the model; the worst model would be
            loaded as the best; or the model has an adapter in it that is not a `peft.PeftModel`'s.
    """
    from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training

    if task is not None and eval_dataset is None:
        raise ValueError("A task is measured on held-out rows: give eval_dataset, too.")
    check_evaluation(args, task)
    if getattr(model, "_hf_peft_config_loaded", False):  # PEFT would put a second one on top, and save that alone
        raise ValueError(
            f"{model.name_or_path} is loaded with an adapter in it, which would be lost. Train the base model; to go "
            "on with an adapter, load it by hf_tokcomp.load_adapter(..., is_trainable=True) and make_trainer, or go on "
            "from its run's checkpoint (--resume-from-checkpoint)."
        )
    if compression is not None or active_config(model) is None:
        patch(model, "none" if compression is None else compression)
    if not isinstance(model, PeftModel):
        if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.gradient_checkpointing)
        set_seed(args.seed)  # the adapter's first weights
        model = get_peft_model(model, lora_config(model) if lora is None else lora)
    args = copy.copy(args)
    args.remove_unused_columns = False
    args.label_names = ["labels"]
    args.prediction_loss_only = args.prediction_loss_only or options.get("compute_metrics") is None
    if args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False
    collator = AudioTextCollator(processor, prompt, long_audio)
    all_callbacks = [*callbacks, TokensKept()]
    if task is not None:
        size = args.per_device_eval_batch_size
        all_callbacks.append(GenerationMetrics(eval_dataset, collator, task, size, max_new_tokens))
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=collator,
        processing_class=processor,
        callbacks=all_callbacks,
        **options,
    )
    for callback in all_callbacks:
        if isinstance(callback, _Logging):
            callback.log = trainer.log
    return trainer


def check_evaluation(args: TrainingArguments, task: Task | Metric | None) -> None:
    """Raise where a task cannot be measured, or the worst model would be taken for the best.

    Args:
        args: transformers' own.
        task: what is measured; None for nothing.

    Raises:
        ValueError: it is so.
    """
    if task is not None and _in_pieces(args):
        raise ValueError(
            "Under FSDP and DeepSpeed ZeRO-3 a process has pieces of the model, which do not generate: train without "
            "`task` (without --eval-dataset and --eval-split), and measure the saved adapter with `hf-tokcomp compare`."
        )
    # TrainingArguments makes greater_is_better True for every name that does not end with "loss".
    if args.greater_is_better and str(args.metric_for_best_model).removeprefix("eval_") == "wer":
        raise ValueError(
            "The best word error rate is the lowest: metric_for_best_model='wer' needs greater_is_better=False "
            "(--greater-is-better false)."
        )


def _in_pieces(args: TrainingArguments) -> bool:
    fsdp = bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes")
    return fsdp or is_deepspeed_zero3_enabled()
