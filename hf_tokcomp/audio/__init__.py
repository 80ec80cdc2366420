"""Loading and decoding recordings. Nothing here depends on a model."""

from .loading import load_audio

__all__ = ["load_audio"]
