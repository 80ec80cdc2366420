"""Samples: recordings loaded and decoded. Nothing here knows a model."""

from .loading import load_audio

__all__ = ["load_audio"]
