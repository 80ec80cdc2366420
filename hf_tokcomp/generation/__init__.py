"""Decode: `forward`, `generate` and the cache of a patched model, in the columns of the caller's prompt."""
