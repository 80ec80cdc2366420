"""Shared by patches around an audio encoder: merging inside it, batching windows, and reusing its output."""
