"""The audio encoder that several models share: Whisper's, with the pooling that Qwen2-Audio added."""
