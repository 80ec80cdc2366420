"""The audio encoder that Qwen3-Omni and Qwen3-ASR share: two-dimensional convolutions over chunks of a second."""
