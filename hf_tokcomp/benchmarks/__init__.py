"""Measuring what compression saves: in phases under `speed`, and everything at full size in `full_size`."""
