"""LoRA fine-tuning under compression with the `Trainer` of transformers (arXiv 2511.20973)."""

from ..inference.answers import answer
from ..inference.asking import Answer
from ..inference.collator import AudioTextCollator
from .callbacks import CardWriter, GenerationMetrics, TokensKept
from .compressed_trainer import CompressedTrainer
from .labels import shortened
from .lora import lora_config
from .schedule import RetentionSchedule
from .trainer import make_trainer

__all__ = [
    "Answer",
    "AudioTextCollator",
    "CardWriter",
    "CompressedTrainer",
    "GenerationMetrics",
    "RetentionSchedule",
    "TokensKept",
    "answer",
    "lora_config",
    "make_trainer",
    "shortened",
]
