"""One method per file. Adding a method is one file and one import line here."""

from .average_pooling import AveragePooling, AveragePoolingConfig
from .bottom_k import BottomK, BottomKConfig
from .compose import Compose, ComposeConfig
from .global_merge import GlobalMerge, GlobalMergeConfig
from .ltbm import LTBM, LTBMConfig
from .none import NoCompression, NoneConfig
from .random import Random, RandomConfig
from .segmentwise_top_k import SegmentwiseTopK, SegmentwiseTopKConfig
from .speechprune import SpeechPrune, SpeechPruneConfig
from .stride import Stride, StrideConfig
from .top_k import TopK, TopKConfig

__all__ = [
    "LTBM",
    "AveragePooling",
    "AveragePoolingConfig",
    "BottomK",
    "BottomKConfig",
    "Compose",
    "ComposeConfig",
    "GlobalMerge",
    "GlobalMergeConfig",
    "LTBMConfig",
    "NoCompression",
    "NoneConfig",
    "Random",
    "RandomConfig",
    "SegmentwiseTopK",
    "SegmentwiseTopKConfig",
    "SpeechPrune",
    "SpeechPruneConfig",
    "Stride",
    "StrideConfig",
    "TopK",
    "TopKConfig",
]
