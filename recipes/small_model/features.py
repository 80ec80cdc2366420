"""The processor's log-mel features, computed for a whole batch at once and cut to the length the batch needs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import WhisperFeatureExtractor

from hf_tokcomp.checkpoints.test_sets.sources import Audio


def frames_of(samples: int, hop: int) -> int:
    """Number of feature frames in the extractor's mask for a recording of `samples`."""
    return -(-samples // hop)


class LogMel:
    """Computes the same as `extractor`, but cut after the longest recording instead of padded to the full window.

    The frames after the end are silence in both cases, so the first frames are equal; two extra frames are kept, since
    the encoder's convolutions reach that far.
    """

    def __init__(self, extractor: WhisperFeatureExtractor) -> None:
        self.fft, self.hop = extractor.n_fft, extractor.hop_length
        self.most_frames = extractor.nb_max_frames
        self.filters = torch.from_numpy(np.asarray(extractor.mel_filters)).float().T  # (bins, frequencies)
        self.window = torch.hann_window(self.fft)

    def __call__(self, audios: Sequence[Audio], gains: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features `(audios, bins, frames)` and the number of real frames `(audios,)`.

        `gains` `(audios, bins)` multiplies the mel power of each recording before the logarithm, like a filter.
        """
        lengths = [frames_of(len(audio), self.hop) for audio in audios]
        frames = min(self.most_frames, 2 * -(-(max(lengths) + 2) // 2))
        batch = torch.zeros(len(audios), (frames + 2) * self.hop + self.fft)
        for row, audio in zip(batch, audios, strict=True):
            row[: len(audio)] = torch.from_numpy(audio)
        spectrum = torch.stft(batch, self.fft, self.hop, window=self.window, return_complex=True)[..., :frames]
        mel = self.filters @ spectrum.abs().square()
        if gains is not None:
            mel = mel * gains[:, :, None]
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0, torch.tensor(lengths)
