"""Patches for what the Omni models share: a thinker that reads and writes, inside a whole that also speaks."""
