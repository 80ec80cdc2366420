"""Inference with a loaded model: prompts, batches, answers, recordings and multiple processes."""
