"""Recipes for the shipped model and the pages in docs/, run from a checkout and not installed.

``python -m recipes.small_model.train`` makes the model, ``recipes.quality`` docs/results.md, ``recipes.costs``
docs/costs.md and ``recipes.finetuning`` the table of docs/training.md. ``recipes.whisper_weights`` makes a checkpoint
of Whisper from packages of the package index.
"""
