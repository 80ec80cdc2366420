"""Benchmarks of what compression saves.

By phase of a prompt in `speed`, at full model size in `full_size`, in a decoder that attends to its encoder in
`decoding`, and in a server in `serving`.
"""
