"""The benchmarks, one file each. A new one is a file here and a line below."""

from . import audiocaps, clotho, clothoaqa, covost2, librispeech, mmau, small_model

__all__ = ["audiocaps", "clotho", "clothoaqa", "covost2", "librispeech", "mmau", "small_model"]
