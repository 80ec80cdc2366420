"""finetune: train an adapter on a data set and save it with its compression, processor, metrics and card."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import transformers
from peft import PeftConfig
from transformers import TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..config.config import CompressionConfig
from ..data import Examples, load_examples
from ..hub.prompt_file import StoredPrompt
from ..loading.adapter_files import read_adapter
from ..loading.precedence import stored_config
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import auto_classes, find_patch, patch_for_processor
from ..patching.long_audio import longest_read, processor_for
from ..patching.patch import compressed
from .arguments import FinetuneArguments
from .callbacks import CardWriter, GenerationMetrics
from .checks import check_best_metric, check_evaluation, check_training
from .lora import lora_config
from .results import METRICS_NAME, effective_prompt, write_metrics, write_run
from .schedule import RetentionSchedule
from .trainer import make_trainer

logger = logging.getLogger(__name__)

LORA_FLAGS = {
    "r": "--lora-r",
    "lora_alpha": "--lora-alpha",
    "lora_dropout": "--lora-dropout",
    "target_modules": "--adapt",
}
"""Fields of `peft.LoraConfig` and the flags that set them."""
LAST = ("last", "true", "True")
"""Values that ``--resume-from-checkpoint`` accepts besides a folder."""


def finetune(options: FinetuneArguments, args: TrainingArguments, compression: CompressionConfig | None) -> Path:
    """Fine-tune a model under compression.

    Errors in the arguments or the data are found before the first step. The output folder holds the adapter with
    `compression_config.json`, the processor, ``metrics.json`` (before and after), ``finetune.json`` (how the adapter
    was trained), ``prompt.json`` (the prompt it was trained on, and its default from now on) and the card; checkpoints
    are in subfolders.

    Args:
        options: model, data and adapter.
        args: the training arguments; ``output_dir`` is the folder.
        compression: the compression to train under; None for the model's own, if any.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder holds an earlier run, and resuming was not requested.
        ValueError: the arguments contradict each other, rows cannot be used, or a checkpoint was trained with other
            settings; the message names them.
        OSError: the model, data set or checkpoint does not exist, or ``output_dir`` is a file.
    """
    options.check()
    _check_processes(args)
    check_training(args, lengths_known=not options.no_check)
    _check_evaluation(options, args)
    schedule = _schedule(options, args, compression)
    folder = Path(args.output_dir)
    resume = _resumed(folder, args)
    processor = _load_processor(options)
    config = _config(options)
    own = None if config is None else stored_config(config)
    train, held_out = load_data(options, processor_for(processor, compression or own))
    set_seed(args.seed)  # for the initial weights of a trainable compressor
    with args.main_process_first(desc="loading the model"):
        # A composite and its part share a processor. Of a composite, the part is trained within the whole.
        patch = find_patch(getattr(config, "model_type", None)) or patch_for_processor(processor)[1]
        model = _load_model(options, compression, patch)
    instruction = effective_prompt(train, options)
    card = CardWriter(
        args.hub_model_id or f"someone/{folder.resolve().name}",
        None if instruction is None else StoredPrompt(instruction, options.task),
        base_model=options.base_model or options.model_name,
        base_revision=None if options.base_model else options.model_revision,
        model_type=model.config.model_type,
        license=options.license,
    )
    callbacks: list[Any] = [card]
    if schedule is not None:
        schedule.check(active_config(model))
        callbacks.append(schedule)
    size = args.per_device_eval_batch_size
    trainer = make_trainer(
        model,
        train.dataset,
        args,
        processor=processor,
        prompt=options.instruction(),
        task=None if held_out is None else options.task,
        eval_dataset=None if held_out is None else held_out.dataset,
        lora=lora_config(
            model,
            **{part: part in options.adapt for part in ("language_model", "projector", "audio_tower")},
            r=options.lora_r,
            lora_alpha=options.lora_alpha,
            lora_dropout=options.lora_dropout,
            revision=options.model_revision,  # of the base model, for users of the adapter
        ),
        long_audio=options.long_audio,
        max_new_tokens=options.max_new_tokens,
        callbacks=callbacks,
    )
    if resume is not None:
        _check_same_run(resume, trainer.model)
    measured: dict[str, dict[str, float]] = {}
    measure = next((c for c in trainer.callback_handler.callbacks if isinstance(c, GenerationMetrics)), None)
    if measure is not None and held_out is not None:
        logger.info("Measuring %d held-out rows, %d at a time.", len(held_out.dataset), size)
        if options.evaluate_uncompressed:
            with compressed(trainer.model, "none"):
                measured["uncompressed"] = measure.measure(trainer.model, held_out.dataset)
        measured["before"] = measure.measure(trainer.model, held_out.dataset)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder))
    trainer.save_state()
    if measure is not None and held_out is not None:
        measured["after"] = measure.measure(trainer.model, held_out.dataset)
    if trainer.is_world_process_zero():
        write_run(folder, options, instruction, trainer, train, held_out)
        (folder / METRICS_NAME).unlink(missing_ok=True)  # left by the run that this one resumes
        measurement = None if held_out is None else write_metrics(folder, options, trainer, measured, held_out)
        card.fields |= {"measurements": [] if measurement is None else [measurement], "has_processor": True}
        card.write(folder, trainer.model)
    trainer.accelerator.wait_for_everyone()
    return folder


def load_data(options: FinetuneArguments, processor: Any) -> tuple[Examples, Examples | None]:
    """The training rows and the held-out rows, checked; the processor says how long a recording may be."""
    patch = patch_for_processor(processor)[1]
    named = Path(options.dataset).expanduser()
    single = named.is_file() or (named / "state.json").is_file()  # written by Dataset.save_to_disk
    if options.eval_split is not None and options.eval_dataset is None and single:
        raise ValueError(
            f"--eval-split {options.eval_split}: {named} is one table without splits, and its rows are trained on. "
            "Name the held-out one with --eval-dataset."
        )
    longest = longest_read(patch, processor)
    shared: dict[str, Any] = {
        "config_name": options.dataset_config,
        "audio_column": options.audio_column,
        "text_column": options.text_column,
        "prompt_column": options.prompt_column,
        "skip_bad": options.skips,
        "check": not options.no_check,
        "max_seconds": None if options.long_audio == "cut" or math.isinf(longest) else longest,
        "sampling_rate": patch.sampling_rate(processor),
        "prompt_required": options.instruction() is None,
    }
    train = load_examples(options.dataset, split=options.split, max_samples=options.max_train_samples, **shared)
    if options.eval_dataset is None and options.eval_split is None:
        return train, None
    name = options.eval_dataset or options.dataset
    return train, load_examples(
        name, split=options.eval_split or "test", max_samples=options.max_eval_samples, **shared
    )


def _check_processes(args: TrainingArguments) -> None:
    """Raise if a launcher started several processes that would each train alone and write to the same folder."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if args.world_size != started:
        raise ValueError(
            f"{started} processes were started, but Trainer knows of {args.world_size}. Without GPUs, add --use-cpu."
        )


def _check_evaluation(options: FinetuneArguments, args: TrainingArguments) -> None:
    """Raise if a requested evaluation is impossible or would select the worst model."""
    held_out = options.eval_dataset is not None or options.eval_split is not None
    wanted = {"--eval-strategy": args.eval_strategy != "no", "--evaluate-uncompressed": options.evaluate_uncompressed}
    for flag, given in wanted.items():
        if given and not held_out:
            raise ValueError(f"{flag} needs held-out rows: add --eval-dataset or --eval-split.")
    task = options.task if held_out else None
    check_evaluation(args, task)
    check_best_metric(args, task, None)


def _schedule(
    options: FinetuneArguments, args: TrainingArguments, compression: CompressionConfig | None
) -> RetentionSchedule | None:
    """The requested schedule, if any; raises if it does not fit the requested compression."""
    if not options.scheduled:
        return None
    schedule = RetentionSchedule(options.ratios, options.curriculum, args.seed)
    if compression is not None:  # otherwise the model's own, which is not known yet
        schedule.check(compression)
    return schedule


def _resumed(folder: Path, args: TrainingArguments) -> str | None:
    """The checkpoint to resume from."""
    wanted = args.resume_from_checkpoint
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"--output-dir {folder} is a file; name a folder.")
    if wanted is None:
        if (folder / "adapter_config.json").is_file() or _last_whole_checkpoint(folder):
            raise FileExistsError(
                f"{folder} has an earlier run. Choose another --output-dir, or continue it with "
                "--resume-from-checkpoint last."
            )
        return None
    found = _last_whole_checkpoint(folder) if wanted in LAST else Path(wanted)
    if found is None or not (found / TRAINER_STATE_NAME).is_file():
        raise FileNotFoundError(
            f"There is no checkpoint to resume from: {folder if wanted in LAST else wanted}. To start over, "
            "choose another --output-dir."
        )
    if not any(found.glob("*optimizer*")) and not any(found.glob("global_step*")):
        raise ValueError(
            f"{found} has no optimizer state, so training cannot be resumed from it: it was saved with "
            "--save-only-model."
        )
    made = json.loads((found / TRAINER_STATE_NAME).read_text(encoding="utf-8"))["global_step"]
    if 0 < args.max_steps < made:
        raise ValueError(f"{found} is of step {made}, beyond --max-steps {args.max_steps}.")
    return str(found)


def _last_whole_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was saved completely; Trainer writes its own state last."""
    steps = {path: path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-") for path in folder.glob("*/")}
    for path in sorted((p for p, step in steps.items() if step.isdigit()), key=lambda p: int(steps[p]), reverse=True):
        if (path / TRAINER_STATE_NAME).is_file():
            return path
        logger.warning("%s is ignored: saving it was interrupted.", path)
    return None


def _check_same_run(checkpoint: str, model: Any) -> None:
    """Raise if a checkpoint was trained with other settings: Trainer would silently load its weights."""
    stored = read_adapter(checkpoint, {})
    if stored is None:
        return
    was, now = PeftConfig.from_pretrained(checkpoint), model.peft_config["default"]
    changed = [flag for name, flag in LORA_FLAGS.items() if getattr(was, name, None) != getattr(now, name)]
    if stored.compression is not None and stored.compression != active_config(model):
        changed.append(f"--compression, {json.dumps(stored.compression.to_dict())}")
    if changed:
        raise ValueError(
            f"{checkpoint} was trained with another {' and another '.join(changed)}. Resume with the same "
            "(adapter_config.json and compression_config.json there), or start over with another --output-dir."
        )


def _config(options: FinetuneArguments) -> Any:
    """The checkpoint's ``config.json``, before it is loaded; None if there is none, as for an adapter."""
    try:
        return transformers.AutoConfig.from_pretrained(options.model_name, revision=options.model_revision)
    except (OSError, ValueError):
        return None  # loading the model will say what is wrong with it


def _load_processor(options: FinetuneArguments) -> Any:
    return transformers.AutoProcessor.from_pretrained(options.model_name, revision=options.model_revision)


def _load_model(options: FinetuneArguments, compression: CompressionConfig | None, patch: ModelPatch) -> Any:
    given: dict[str, Any] = {"revision": options.model_revision, "dtype": options.dtype}
    if options.load_in_4bit or options.load_in_8bit:
        given["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=options.load_in_4bit,
            load_in_8bit=options.load_in_8bit,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype="bfloat16",
        )
    if compression is not None:
        given["compression"] = compression
    return getattr(transformers, auto_classes(patch)[0]).from_pretrained(options.model_name, **given)
