"""The audio encoder shared by Qwen3-Omni and Qwen3-ASR: two-dimensional convolutions over chunks of one second."""
