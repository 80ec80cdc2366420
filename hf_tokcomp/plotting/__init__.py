"""Plots of what a compression does: spectrogram, attention, tokens and text of each method on a shared time axis.

Needs matplotlib (the optional extra ``plot``) and does not change its global state. `import hf_tokcomp` does not import
it.
"""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("Pictures need matplotlib. Install it with: pip install 'hf-tokcomp[plot]'") from error

from .data import Panel, Spectrogram
from .figure import plot_compression
from .reading import plot, read_panels
from .saving import check_path, save

__all__ = ["Panel", "Spectrogram", "check_path", "plot", "plot_compression", "read_panels", "save"]
