"""The recipe of the shipped model: its data, its training and its measurements.

``python -m recipes.small_model.train --output FOLDER`` reproduces the checkpoint. The model is trained and measured
with plain transformers, before any compression is involved. Its prompts are in `hf_tokcomp.checkpoints.test_sets`.
"""
