"""The keyword ``compression=`` of `from_pretrained`, adapters, and the precedence of several compressions."""
