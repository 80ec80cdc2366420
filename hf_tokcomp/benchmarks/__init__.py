"""Benchmarks of what compression saves: by phase in `speed`, and at full model size in `full_size`."""
