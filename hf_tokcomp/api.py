"""The public names of the package, which has them all: `hf_tokcomp.patch` is `hf_tokcomp.api.patch`."""

from . import compressors
from ._version import __version__
from .compressors import *  # noqa: F403 - the classes of every method; `compressors.__all__` lists them
from .compressors.base import AudioTokenCompressor, ScoringCompressor, register_compressor
from .config.checks import option
from .config.config import CompressionConfig
from .config.registry import methods
from .errors import (
    CacheContinuationError,
    CompressionConfigError,
    CompressorOutputError,
    CompressorWeightsError,
    PlaceholderMismatchError,
    UnsupportedModelError,
    UnsupportedVersionError,
)
from .generation.audio import compress_audio, embed_audio
from .loading.adapters import load_adapter
from .loading.keyword import install, uninstall
from .models.base import ModelPatch
from .models.instance import active_config
from .models.registry import register_model, supported_models
from .ops.assignment import Assignment
from .ops.audio_tokens import AudioTokens
from .ops.record import CompressedAudio, CompressionRecord
from .patching.patch import compressed, patch, unpatch
from .sharing.push import push_to_hub

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
    "ScoringCompressor",
    "UnsupportedModelError",
    "UnsupportedVersionError",
    "__version__",
    "active_config",
    "compress_audio",
    "compressed",
    "embed_audio",
    "install",
    "load_adapter",
    "methods",
    "option",
    "patch",
    "push_to_hub",
    "register_compressor",
    "register_model",
    "supported_models",
    "uninstall",
    "unpatch",
    *compressors.__all__,
]
