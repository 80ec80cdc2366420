"""make_trainer: build a `transformers.Trainer` from a model, rows and a compression."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

from transformers import TrainerCallback, TrainingArguments, set_seed

from ..config.notation import Compression
from ..errors import UnsupportedModelError
from ..inference.collator import AudioTextCollator
from ..models.instance import active_config, patch_for_model, unwrap
from ..patching.long_audio import processor_for
from ..patching.patch import patch
from .callbacks import GenerationMetrics, Metric, TokensKept, _Logging
from .checks import check_best_metric, check_evaluation, check_held_out, check_training
from .compressed_trainer import CompressedTrainer
from .lora import lora_config


def make_trainer(
    model: Any,
    train_dataset: Any,
    args: TrainingArguments,
    *,
    processor: Any,
    compression: Compression | None = None,
    prompt: str | None = None,
    task: str | Metric | None = None,
    eval_dataset: Any = None,
    lora: Any = None,
    long_audio: Literal["error", "cut"] = "error",
    max_new_tokens: int = 128,
    callbacks: Sequence[TrainerCallback] = (),
    trainer_class: type[CompressedTrainer] = CompressedTrainer,
    **options: Any,
) -> CompressedTrainer:
    """A `transformers.Trainer` that fine-tunes a model under compression with LoRA.

    This is a shortcut for `hf_tokcomp.patch`, `lora_config`, `peft.get_peft_model`, `AudioTextCollator` and
    `CompressedTrainer`. All weights initialised here, those of an adapter and of a trainable compressor, use
    ``args.seed``. Four settings are changed in a copy of ``args``: ``remove_unused_columns`` is False, since the
    collator reads the raw rows; ``label_names`` is ``["labels"]``, without which `Trainer` computes no evaluation loss
    for a PeftModel; ``prediction_loss_only`` is True unless ``compute_metrics`` is given, since logits take much memory
    and are not needed; and ``ddp_find_unused_parameters`` is False unless it was set, since every weight of the
    adapter is used in every step.

    Args:
        model: a supported model, compressed or not, wrapped by PEFT or not.
        train_dataset: rows ``{"audio", "text"}`` and optionally ``"prompt"``, as `AudioTextCollator` takes them.
        args: the training arguments.
        processor: the model's processor.
        compression: the compression to train under; None for the one the model is patched with, or ``none``.
        prompt: the instruction for rows without their own.
        task: score generated answers at every evaluation and prediction with this task's metric, see
            `GenerationMetrics`.
        eval_dataset: held-out rows for the loss and for ``task``: a data set, a dict of data sets, or a streamed one.
        lora: a `peft.LoraConfig`; None for that of `lora_config`.
        long_audio: how to handle recordings longer than the model reads, see `AudioTextCollator`. None is, under a
            compression with ``long_audio="windows"``.
        max_new_tokens: maximum length of the answers generated for ``task``.
        callbacks: additional callbacks.
        trainer_class: a subclass of `CompressedTrainer`, for custom losses.
        options: further arguments of `Trainer`.

    Raises:
        UnsupportedModelError: there is no patch for the model.
        CompressionConfigError: the compression is unknown or contradictory.
        ValueError: a task is given without held-out rows, or while processes hold only parts of the model or of a
            stream; the held-out rows cannot be iterated; the best model is selected by a metric that is not measured,
            or that would select the worst; `check_training` fails; or the model contains an adapter but is not a
            `peft.PeftModel`.
        TypeError: `trainer_class` is not a subclass of `CompressedTrainer`.

    Example:
        >>> from transformers import TrainingArguments
        >>> from hf_tokcomp.data import load_examples
        >>> from hf_tokcomp.training import make_trainer
        >>> trainer = make_trainer(
        ...     model,
        ...     load_examples("my_recordings").dataset,
        ...     TrainingArguments("run", max_steps=1, report_to="none"),
        ...     processor=processor,
        ...     compression={"method": "average_pooling", "retention_ratio": 0.25},
        ...     prompt="Transcribe the digits.",
        ... )
        >>> output = trainer.train()
        >>> trainer.save_model("my-adapter")
    """
    from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training

    reads = patch_for_model(unwrap(model))[1]
    if not reads.reads_prompts:
        raise UnsupportedModelError(
            f"This trains models that read audio in a prompt, which {reads.model_type!r} does not: train it with "
            "transformers' Seq2SeqTrainer, as docs/models.md shows."
        )
    if not issubclass(trainer_class, CompressedTrainer):
        raise TypeError(
            f"trainer_class={trainer_class.__name__} must be a subclass of hf_tokcomp.training.CompressedTrainer."
        )
    if task is not None and eval_dataset is None:
        raise ValueError("A task is measured on held-out rows; pass eval_dataset, too.")
    check_training(args)
    check_evaluation(args, task)
    sets = check_held_out(args, task, eval_dataset)
    if not callbacks and options.get("compute_metrics") is None:  # these may add any metric
        check_best_metric(args, task, sets)
    if getattr(model, "_hf_peft_config_loaded", False):  # PEFT would add a second one, and save only that
        raise ValueError(
            f"{model.name_or_path} is loaded with an adapter in it, which would be lost. Train the base model; to "
            "continue with an adapter, load it with hf_tokcomp.load_adapter(..., is_trainable=True), or continue from "
            "its run's checkpoint (--resume-from-checkpoint)."
        )
    set_seed(args.seed)  # for the initial weights of a trainable compressor and of the adapter
    if compression is not None or active_config(model) is None:
        patch(model, "none" if compression is None else compression)
    if not isinstance(model, PeftModel):
        if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.gradient_checkpointing)
        model = get_peft_model(model, lora_config(model) if lora is None else lora)
    args = copy.copy(args)
    args.remove_unused_columns = False
    args.label_names = ["labels"]
    args.prediction_loss_only = args.prediction_loss_only or options.get("compute_metrics") is None
    if args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False
    collator = AudioTextCollator(processor_for(processor, active_config(model)), prompt, long_audio)
    all_callbacks = [*callbacks, TokensKept()]
    if task is not None:
        size = args.per_device_eval_batch_size
        all_callbacks.append(GenerationMetrics(collator, task, size, max_new_tokens))
    trainer = trainer_class(
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
