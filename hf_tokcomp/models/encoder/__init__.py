"""What patches share around an audio encoder: merging inside it, running windows together, running it once."""
