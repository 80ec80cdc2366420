"""One method per file. Adding a method is one file and one import line here."""

from .a_tome import ATome, ATomeConfig
from .average_pooling import AveragePooling, AveragePoolingConfig
from .bottom_k import BottomK, BottomKConfig
from .cdpruner import CDPruner, CDPrunerConfig
from .compose import Compose, ComposeConfig
from .conv_resampler import ConvResampler, ConvResamplerConfig
from .divprune import DivPrune, DivPruneConfig
from .fastadasp import FastAdaSP, FastAdaSPConfig
from .global_merge import GlobalMerge, GlobalMergeConfig
from .ltbm import LTBM, LTBMConfig
from .none import NoCompression, NoneConfig
from .query_resampler import QueryResampler, QueryResamplerConfig
from .random import Random, RandomConfig
from .sa_map import SAMap, SAMapConfig
from .segmentation import Segmentation, SegmentationConfig
from .segmentwise_top_k import SegmentwiseTopK, SegmentwiseTopKConfig
from .speechprune import SpeechPrune, SpeechPruneConfig
from .stride import Stride, StrideConfig
from .top_k import TopK, TopKConfig
from .visionzip import VisionZip, VisionZipConfig

__all__ = [
    "LTBM",
    "ATome",
    "ATomeConfig",
    "AveragePooling",
    "AveragePoolingConfig",
    "BottomK",
    "BottomKConfig",
    "CDPruner",
    "CDPrunerConfig",
    "Compose",
    "ComposeConfig",
    "ConvResampler",
    "ConvResamplerConfig",
    "DivPrune",
    "DivPruneConfig",
    "FastAdaSP",
    "FastAdaSPConfig",
    "GlobalMerge",
    "GlobalMergeConfig",
    "LTBMConfig",
    "NoCompression",
    "NoneConfig",
    "QueryResampler",
    "QueryResamplerConfig",
    "Random",
    "RandomConfig",
    "SAMap",
    "SAMapConfig",
    "Segmentation",
    "SegmentationConfig",
    "SegmentwiseTopK",
    "SegmentwiseTopKConfig",
    "SpeechPrune",
    "SpeechPruneConfig",
    "Stride",
    "StrideConfig",
    "TopK",
    "TopKConfig",
    "VisionZip",
    "VisionZipConfig",
]
