"""What is asked for: a `CompressionConfig`, its budget and checks, its written form, and every way to name one."""

from .config import CompressionConfig

__all__ = ["CompressionConfig"]
