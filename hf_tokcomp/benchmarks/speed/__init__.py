"""Benchmark of what compression saves in a whole model, for `hf-tokcomp bench` and the full-size benchmark."""
