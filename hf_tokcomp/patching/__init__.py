"""Patching a model or processor, and undoing it."""
