"""hf_tokcomp: fewer audio tokens for audio-language models, with one keyword.

Importing it teaches `from_pretrained` of transformers' models and processors the keyword ``compression=``.
"""

from . import starting  # noqa: F401 - before what takes seconds to import

# isort: split
from . import compressors
from ._version import __version__
from .adapters import load_adapter
from .assignment import Assignment
from .audio_tokens import AudioTokens
from .compressor import AudioTokenCompressor, CompressedAudio
from .compressors import *  # noqa: F403 - the classes of every method; `compressors.__all__` lists them
from .config import CompressionConfig
from .errors import (
    CacheContinuationError,
    CompressionConfigError,
    CompressorOutputError,
    CompressorWeightsError,
    PlaceholderMismatchError,
    UnsupportedModelError,
    UnsupportedVersionError,
)
from .loading import install, uninstall
from .model_patch import ModelPatch
from .models import register_model, supported_models
from .patching import active_config, compressed, patch, unpatch
from .pushing import push_to_hub
from .records import CompressionRecord
from .registry import methods, register_compressor

__all__ = [
    "Assignment",
    "AudioTokenCompressor",
    "AudioTokens",
    "CacheContinuationError",
    "CompressedAudio",
    "CompressionConfig",
    "CompressionConfigError",
    "CompressionRecord",
    "CompressorOutputError",
    "CompressorWeightsError",
    "ModelPatch",
    "PlaceholderMismatchError",
    "UnsupportedModelError",
    "UnsupportedVersionError",
    "__version__",
    "active_config",
    "compressed",
    "install",
    "load_adapter",
    "methods",
    "patch",
    "push_to_hub",
    "register_compressor",
    "register_model",
    "supported_models",
    "uninstall",
    "unpatch",
    *compressors.__all__,
]

install()
