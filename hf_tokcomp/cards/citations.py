"""Citations for a compression: the library and the papers its methods come from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._version import __version__
from ..config.config import CompressionConfig
from ..config.registry import get_method


@dataclass(frozen=True)
class Paper:
    """A paper on arXiv.

    Args:
        key: key of its BibTeX entry.
        title: title in BibTeX notation.
        authors: authors in BibTeX notation, joined by ``and``.
    """

    key: str
    title: str
    authors: str


PAPERS: dict[str, Paper] = {
    "2301.12597": Paper(
        "blip2",
        "{BLIP-2}: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models",
        "Li, Junnan and Li, Dongxu and Savarese, Silvio and Hoi, Steven",
    ),
    "2306.16009": Paper(
        "a_tome",
        "Accelerating Transducers through Adjacent Token Merging",
        "Li, Yuang and Wu, Yu and Li, Jinyu and Liu, Shujie",
    ),
    "2310.13289": Paper(
        "salmonn",
        "{SALMONN}: Towards Generic Hearing Abilities for Large Language Models",
        "Tang, Changli and Yu, Wenyi and Sun, Guangzhi and Chen, Xianzhao and Tan, Tian and Li, Wei and Lu, Lu and "
        "Ma, Zejun and Zhang, Chao",
    ),
    "2410.03007": Paper(
        "fastadasp",
        "{FastAdaSP}: Multitask-Adapted Efficient Inference for Large Speech Language Model",
        "Lu, Yichen and Song, Jiaqi and Yang, Chao-Han Huck and Watanabe, Shinji",
    ),
    "2412.04467": Paper(
        "visionzip",
        "{VisionZip}: Longer is Better but Not Necessary in Vision Language Models",
        "Yang, Senqiao and Chen, Yukang and Tian, Zhuotao and Wang, Chengyao and Li, Jingyao and Yu, Bei and Jia, "
        "Jiaya",
    ),
    "2412.12009": Paper(
        "speechprune",
        "{SpeechPrune}: Context-aware Token Pruning for Speech Information Retrieval",
        "Lin, Yueqian and Fu, Yuzhe and Zhang, Jingyang and Liu, Yudong and Zhang, Jianyi and Sun, Jingwei and Li, Hai "
        "and Chen, Yiran",
    ),
    "2503.02175": Paper(
        "divprune",
        "{DivPrune}: Diversity-based Visual Token Pruning for Large Multimodal Models",
        "Alvar, Saeed Ranjbar and Singh, Gursimran and Akbari, Mohammad and Zhang, Yong",
    ),
    "2506.10967": Paper(
        "cdpruner",
        "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in {MLLMs}",
        "Zhang, Qizhe and Liu, Mengzhen and Li, Lichen and Lu, Ming and Zhang, Yuan and Pan, Junwen and She, Qi and "
        "Zhang, Shanghang",
    ),
    "2511.14293": Paper(
        "segmentwise",
        "Segmentwise Pruning in Audio-Language Models",
        'Gibier, Marcel and Duroselle, Rapha{\\"e}l and Serrano, Pierre and Boeffard, Olivier and Bonastre, '
        "Jean-Fran{\\c c}ois",
    ),
    "2511.20973": Paper(
        "pooling",
        "Towards Audio Token Compression in Large Audio Language Models",
        "Bhati, Saurabhchand and Thomas, Samuel and Kuehne, Hilde and Feris, Rogerio and Glass, James",
    ),
    "2605.25179": Paper(
        "ltbm",
        "Locality Matters for Training-Free Audio Token Compression in Audio-Language Models",
        "Luo, Jiale and Liang, Xiaoyu and Hu, Haoji",
    ),
}
"""Papers by arXiv number. A paper that is not listed is cited by its number and a link."""


def methods_of(config: CompressionConfig) -> list[str]:
    """The keys of the methods that a config uses: its own, or those of the stages of a composition."""
    return list(dict.fromkeys(stage.method for stage in getattr(config, "stages", (config,))))


def library_entry() -> str:
    """The library's own BibTeX entry."""
    return (
        "@software{hf_tokcomp,\n"
        "  title  = {hf\\_tokcomp: audio token compression for audio-language models},\n"
        "  author = {{The hf\\_tokcomp authors}},\n"
        "  year   = {2026},\n"
        f"  note   = {{Version {__version__}}}\n"
        "}"
    )


def entry(number: str) -> str:
    """The BibTeX entry of a paper in `PAPERS`, by its arXiv number, whose first two digits are the year."""
    paper = PAPERS[number]
    return (
        f"@article{{{paper.key},\n"
        f"  title   = {{{paper.title}}},\n"
        f"  author  = {{{paper.authors}}},\n"
        f"  journal = {{arXiv preprint arXiv:{number}}},\n"
        f"  year    = {{20{number[:2]}}}\n"
        "}"
    )


def citations(config: CompressionConfig) -> tuple[list[str], list[str]]:
    """Citations for a compression: BibTeX entries, the library's first, and one-line sources without an entry."""
    entries, lines = {"": library_entry()}, {}
    for name in methods_of(config):
        source = get_method(name).source
        numbers = re.findall(r"arXiv:? ?(\d{4}\.\d{4,5})", source)
        for number in numbers:
            if number in PAPERS:
                entries[number] = entry(number)
            else:
                lines[number] = f"`{name}`: [arXiv {number}](https://arxiv.org/abs/{number})"
        if source and not numbers:
            lines[source] = f"`{name}`: {source}"
    return list(entries.values()), list(lines.values())
