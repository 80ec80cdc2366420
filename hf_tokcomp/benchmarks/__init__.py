"""Measuring what the methods cost: `python -m hf_tokcomp.benchmarks.methods`."""
