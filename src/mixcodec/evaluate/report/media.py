"""Sound and pictures inside the page, as data URIs: every different one once."""

from __future__ import annotations

import base64
import io

import numpy as np

from mixcodec.audio import Wave
from mixcodec.evaluate.report.listening import Excerpt, Listening
from mixcodec.evaluate.report.spectrogram import mono, power_grid, spectrogram_png

MOST_SECONDS = 8.0
LEAST_SECONDS = 3.0
PCM_BUDGET = 40_000_000
"""Bytes of 16-bit samples in one page, all takes together; FLAC and base64 make about as many characters of two thirds."""


class Store:
    """Data URIs by key; equal ones have one key."""

    def __init__(self) -> None:
        self.uris: dict[str, str] = {}
        self._keys: dict[str, str] = {}

    def add(self, mime: str, data: bytes) -> str:
        """The key of `data`, which is kept once."""
        uri = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
        if uri not in self._keys:
            key = f"m{len(self._keys)}"
            self._keys[uri] = key
            self.uris[key] = uri
        return self._keys[uri]


def excerpt_seconds(listening: Listening) -> float:
    """How much of each clip goes into the page: MOST_SECONDS, or less where many takes would outgrow PCM_BUDGET."""
    takes = [(e.reference, e.sample_rate) for e in listening.excerpts]
    takes += [(take.wave, take.sample_rate) for e in listening.excerpts for take in e.takes.values()]
    per_second = sum(2 * rate * (1 if wave.ndim == 1 else len(wave)) for wave, rate in takes)
    return max(LEAST_SECONDS, min(MOST_SECONDS, PCM_BUDGET / max(per_second, 1)))


def flac(wave: Wave, sample_rate: int) -> bytes:
    """`wave` (N,) or (C, N) as 16-bit FLAC."""
    import soundfile

    target = io.BytesIO()
    soundfile.write(target, np.clip(wave, -1, 1).T, sample_rate, format="FLAC", subtype="PCM_16")
    return target.getvalue()


def embed_excerpt(store: Store, excerpt: Excerpt, seconds: float) -> dict[str | None, tuple[str, str]]:
    """Put one excerpt into the store: keys of the sound and of the spectrogram of each point; None is the original.

    All its spectrograms have the scale of the original: its times, frequencies up to half its sample rate, and colours
    down from its loudest spot.
    """
    top = excerpt.sample_rate / 2
    shown = min(seconds, excerpt.reference.shape[-1] / excerpt.sample_rate)
    waves: dict[str | None, tuple[Wave, int]] = {None: (excerpt.reference, excerpt.sample_rate)}
    waves.update({point: (take.wave, take.sample_rate) for point, take in excerpt.takes.items()})
    keys: dict[str | None, tuple[str, str]] = {}
    loudest = 0.0
    for point, (wave, rate) in waves.items():
        cut = wave[..., : round(shown * rate)]
        grid = power_grid(mono(cut), rate, shown, top)
        loudest = loudest if point is not None else float(grid.max())
        sound = store.add("audio/flac", flac(cut, rate))
        keys[point] = (sound, store.add("image/png", spectrogram_png(grid, loudest)))
    return keys
