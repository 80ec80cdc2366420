"""Encode: what must be known about an upstream model to take out its audio features and put fewer back."""
