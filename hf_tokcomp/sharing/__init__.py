"""Saving and pushing a model, an adapter, a folder or a config, in one commit with its card."""
