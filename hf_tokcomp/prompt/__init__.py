"""Shorten: finding a prompt's audio placeholders and dropping some of them."""
