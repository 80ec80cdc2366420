"""`hf_tokcomp.ops.ranking`, under the name that methods of one's own import it by."""

from .ops.ranking import ATTENTION, HeadReduction, clean_scores, descending_rank, invert, keep_best

__all__ = ["ATTENTION", "HeadReduction", "clean_scores", "descending_rank", "invert", "keep_best"]
