"""Recordings with their texts, from tables, folders and the Hub, to train on or to measure with."""

from .examples import Examples, load_examples

__all__ = ["Examples", "load_examples"]
