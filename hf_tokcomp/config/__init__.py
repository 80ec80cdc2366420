"""`CompressionConfig`: its budget and checks, its serialization, and every way to name a compression."""

from .config import CompressionConfig

__all__ = ["CompressionConfig"]
