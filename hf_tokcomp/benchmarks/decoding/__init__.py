"""Benchmark of what compression saves a decoder that attends to its encoder: cache, time per token, first token."""
