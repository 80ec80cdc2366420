"""Encode: what must be known of an upstream model to take its audio features out and to put fewer back."""
