"""The groups of options in `--help`."""

from __future__ import annotations

READ = "Input"
SHARE = "Sharing"
COMPRESSION = "Compression"
GENERATION = "Generation"
SPEECH = "Speech"
MEASURING = "Measuring"
TRAINING = "Training"
OUTPUT = "Output"
RUNNING = "Running"
GROUPS = (READ, SHARE, COMPRESSION, GENERATION, SPEECH, MEASURING, TRAINING, OUTPUT, RUNNING)
"""The groups in the order in which they are printed; options without a group are in the last."""
