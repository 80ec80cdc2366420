"""What each method costs beside the encoder, measured for docs/costs.md: ``python -m recipes.costs``."""
