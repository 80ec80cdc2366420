"""Compressed audio in inference engines. Nothing here is imported but by who serves."""
