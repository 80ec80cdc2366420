"""One upstream model per file, loaded by name from `hf_tokcomp.patching`; nothing imports this package statically."""
