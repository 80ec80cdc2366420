"""Shorten: where a prompt's audio placeholders are, and the prompt with fewer of them."""
