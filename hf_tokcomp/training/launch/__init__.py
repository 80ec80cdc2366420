"""Configs for `accelerate launch`: ``python -m hf_tokcomp.training.launch NAME`` prints one."""

from __future__ import annotations

from pathlib import Path

FILES = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}
"""Config files by name."""
