"""The groups that `--help` has options in."""

from __future__ import annotations

READ = "What to read"
SHARE = "What to share"
COMPRESSION = "Compression"
GENERATION = "Generation"
MEASURING = "Measuring"
TRAINING = "Training"
OUTPUT = "Output"
RUNNING = "Running"
GROUPS = (READ, SHARE, COMPRESSION, GENERATION, MEASURING, TRAINING, OUTPUT, RUNNING)
"""In the order in which they are printed; what names none is in the last."""
