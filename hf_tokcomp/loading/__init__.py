"""The keyword ``compression=`` of `from_pretrained`, adapters, and which of several compressions counts."""
