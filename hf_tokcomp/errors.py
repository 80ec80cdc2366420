"""The exceptions of hf_tokcomp. Each message names what to do; all of them derive from built-in exceptions."""


class CompressionConfigError(ValueError):
    """A compression config is unknown, incomplete, contradictory or out of range."""


class UnsupportedModelError(TypeError):
    """No patch exists for this model or processor."""


class UnsupportedVersionError(RuntimeError):
    """The installed transformers cannot be patched."""


class PlaceholderMismatchError(ValueError):
    """The audio placeholders of a prompt do not fit the audio that came with it."""


class CacheContinuationError(ValueError):
    """A call continues on a key-value cache in a way that cannot be mapped onto the compressed prompt."""


class CompressorOutputError(RuntimeError):
    """A compressor returned something other than what its config announced."""


class CompressorWeightsError(ValueError):
    """Stored weights of an audio compressor find no compressor, or one that they do not fit."""
