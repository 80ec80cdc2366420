"""LoRA fine-tuning of a compressed audio-language model: data, collator, trainer and callbacks."""
