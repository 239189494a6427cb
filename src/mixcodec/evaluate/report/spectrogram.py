"""Spectrograms as small PNG images with a palette."""

from __future__ import annotations

import functools
import io
import re

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave

WIDTH, HEIGHT = 400, 140
RANGE_DB = 80.0
"""What the colours span, below the loudest of the original."""
WINDOW_SECONDS = 0.032
COLOURS = 64


def mono(wave: Wave) -> Wave:
    """(N,) or (C, N) -> (N,), the mean of the channels."""
    return wave if wave.ndim == 1 else np.asarray(wave.mean(axis=0), np.float32)


def power_grid(wave: Wave, sample_rate: int, seconds: float, top: float) -> NDArray[np.float64]:
    """Power of `wave` (N,) over `seconds` and 0 to `top` Hz: (HEIGHT, WIDTH), the top frequency first.

    Hann windows of WINDOW_SECONDS, spread evenly over the time; a row is the mean power of the bins that fall in it (the
    nearest one where none does). What the wave does not reach, in time or in frequency, has no power.
    """
    size = max(16, round(WINDOW_SECONDS * sample_rate))
    length = max(1, round(seconds * sample_rate))
    padded = np.zeros(length + size, np.float64)
    kept = wave[:length]
    padded[size // 2 : size // 2 + len(kept)] = kept
    starts = np.round(np.linspace(0, length - 1, WIDTH)).astype(np.int64)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size + 1)[:-1]
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / size**2  # (WIDTH, bins)
    summed = np.concatenate([np.zeros((WIDTH, 1)), np.cumsum(power, axis=1)], axis=1)
    edges = np.linspace(0, top, HEIGHT + 1) * size / sample_rate  # in bins
    first = np.floor(edges[:-1]).astype(np.int64)
    last = np.maximum(first + 1, np.floor(edges[1:]).astype(np.int64))
    bins = power.shape[1]
    inside = first < bins
    first, last = np.minimum(first, bins - 1), np.minimum(last, bins)
    rows = (summed[:, last] - summed[:, first]) / np.maximum(last - first, 1) * inside
    return np.asarray(np.maximum(rows, 0).T[::-1])


def spectrogram_png(grid: NDArray[np.float64], loudest: float) -> bytes:
    """A PNG of a power grid: dark is RANGE_DB below the power `loudest`, bright is as loud as it."""
    from PIL import Image

    floor = 10 ** (-RANGE_DB / 10)
    relative = 10 * np.log10(np.maximum(grid / loudest if loudest > 0 else grid * 0, floor))
    levels = np.clip(np.round((relative / RANGE_DB + 1) * (COLOURS - 1)), 0, COLOURS - 1)
    image = Image.frombytes("P", (grid.shape[1], grid.shape[0]), levels.astype(np.uint8).tobytes())
    image.putpalette(palette())
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return target.getvalue()


@functools.cache
def palette() -> bytes:
    """COLOURS steps of magma (Smith and van der Walt, 2015), dark to bright: red, green, blue of each."""
    from plotly.colors import sample_colorscale

    steps = sample_colorscale("Magma", list(np.linspace(0, 1, COLOURS)))
    return bytes(int(number) for step in steps for number in re.findall(r"\d+", step))


def main(arguments: list[str]) -> int:
    """`python -m mixcodec.evaluate.report.spectrogram CLIP [CLIP ...]`: a PNG beside each, all on the first one's scale."""
    import sys
    from pathlib import Path

    from mixcodec.audio import read_audio
    from mixcodec.errors import MixcodecError
    from mixcodec.files import atomic_output

    loudest = 0.0
    try:
        for name in arguments:
            wave, sample_rate = read_audio(name)
            grid = power_grid(mono(wave), sample_rate, wave.shape[-1] / sample_rate, sample_rate / 2)
            loudest = loudest or float(grid.max())
            with atomic_output(Path(name).with_suffix(".png")) as file:
                file.write(spectrogram_png(grid, loudest))
    except MixcodecError as error:
        print(f"mixcodec: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
