"""The mel scale, for the losses and for the distances that are reported."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mel_edges(sample_rate: int, bands: int) -> NDArray[np.float64]:
    """Hz: the edges (bands + 2,) of bands that begin at edge i, peak at i + 1 and end at i + 2.

    Evenly spaced from 0 Hz to half the sample rate on the scale 2595 log10(1 + f / 700) (O'Shaughnessy, 1987, Speech
    Communication: Human and Machine).
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    return np.asarray(700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1))


def mel_filters(sample_rate: int, window: int, bands: int) -> NDArray[np.float64]:
    """Triangular bands over the bins of a `window`-point spectrum: weights (window // 2 + 1, bands), peak 1.

    A band that falls between two bins is all zero.
    """
    edges = mel_edges(sample_rate, bands)
    bins = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))
