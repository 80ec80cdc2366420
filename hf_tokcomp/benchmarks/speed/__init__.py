"""Measuring what compression saves in a whole model: `hf-tokcomp bench`, `python -m hf_tokcomp.benchmarks.full_size`."""
