"""Ask a loaded model: prompts, batches, answers, recordings, several processes."""
