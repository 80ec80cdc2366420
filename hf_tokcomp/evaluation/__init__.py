"""Measuring how well compressed models answer."""
