"""Compressed audio in vLLM, as a plug-in of unmodified vLLM; docs/serving.md says how it is used.

vLLM's internals are no stable API, so `pyproject.toml` pins its minor version, and only the modules `processing`,
`positions` and those of the models import it.
"""

from .exporting import export
from .overrides import engine_args
from .served import ARCHITECTURES, COMPRESSION_KEY

__all__ = ["ARCHITECTURES", "COMPRESSION_KEY", "engine_args", "export"]
