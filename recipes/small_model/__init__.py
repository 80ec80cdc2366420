"""The recipe of the shipped model: its data, its training and its measurements.

``python -m recipes.small_model.train --output FOLDER`` makes the checkpoint again. The model is trained and measured by
plain transformers, before any compression is involved. What it is asked is in `hf_tokcomp.checkpoints.test_sets`.
"""
