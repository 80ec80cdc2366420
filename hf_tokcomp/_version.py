"""The version of hf_tokcomp; pyproject.toml and every written config read it from here."""

__version__ = "0.1.0"
