"""The audio encoder shared by several models: Whisper's, with the pooling added by Qwen2-Audio."""
