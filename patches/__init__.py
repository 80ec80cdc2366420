"""One upstream model a file, loaded by name (`hf_tokcomp.models.registry`); nothing imports this package statically."""
