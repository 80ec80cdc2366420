"""Presentation of results: tables in the terminal, Markdown pages, and the origin of numbers."""
