"""One upstream model per file, loaded by name (`hf_tokcomp.models.registry`); nothing imports this package directly."""
