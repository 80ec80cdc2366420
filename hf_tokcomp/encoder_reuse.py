"""`hf_tokcomp.models.encoder.reuse`, under its documented name."""

from .models.encoder.reuse import reuse_encoder

__all__ = ["reuse_encoder"]
