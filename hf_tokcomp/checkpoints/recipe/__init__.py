"""The recipe of the shipped model: its data, its training, its test set and its measurements.

``python -m hf_tokcomp.checkpoints.recipe.train --output FOLDER`` makes the checkpoint again. Nothing here imports
the rest of the library: the model is trained and measured by plain transformers, before any compression is involved.
"""
