"""Measures the cost of each method relative to the encoder, for docs/costs.md: ``python -m recipes.costs``."""
