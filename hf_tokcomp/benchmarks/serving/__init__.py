"""Benchmark of a compressed model in an inference engine, for `hf-tokcomp bench --engine vllm`."""
