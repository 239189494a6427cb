"""Delay and length: a codec that only comes late, or gives back a few samples more, must score as one that does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.errors import MixcodecError

MAX_DELAY_SECONDS = 0.5
"""Within which a delay is looked for, both ways."""
FAITHFUL = 0.5
"""Correlation of waveforms from which on a codec is taken to keep them, so that their delay can be told to the sample."""
ENVELOPE_SECONDS = 0.001
PLAIN = 0.99
"""Share of the best correlation of envelopes at which no delay at all is the simpler explanation."""


class DelayError(MixcodecError):
    """A codec whose delay cannot be told."""


def find_delay(references: Sequence[Wave], decoded: Sequence[Wave], sample_rate: int) -> int:
    """Samples by which a codec's output lags behind its input, one number for all of its clips (N,).

    The lag of the greatest cross-correlation of the waveforms, summed over the clips, where that is 0.5 at least. Of a codec
    that keeps no waveform (a vocoder, or a very low rate) the lag of the greatest correlation of the 1 ms envelopes, unless
    no lag at all does practically as well.

    Raises:
        DelayError: the best lag is the greatest that was tried, so the true one is probably greater.
    """
    limit = round(MAX_DELAY_SECONDS * sample_rate)
    shares = _correlation(references, decoded, limit)
    if shares.max(initial=0.0) >= FAITHFUL:
        return _inside(int(np.argmax(shares)) - limit, limit)
    step = max(1, round(ENVELOPE_SECONDS * sample_rate))
    limit //= step
    shares = _correlation([_envelope(w, step) for w in references], [_envelope(w, step) for w in decoded], limit)
    if shares[limit] >= PLAIN * shares.max(initial=0.0):
        return 0
    return _inside(int(np.argmax(shares)) - limit, limit) * step


def _inside(lag: int, limit: int) -> int:
    if abs(lag) == limit:
        raise DelayError(f"its delay is {MAX_DELAY_SECONDS * 1000:g} ms or more, which is further than is looked for")
    return lag


def aligned(wave: Wave, delay: int, length: int) -> Wave:
    """`wave` (*channels, N) moved `delay` samples earlier (later where negative), cut or padded with silence to `length`."""
    still = [(0, 0)] * (wave.ndim - 1)
    wave = wave[..., delay:] if delay >= 0 else np.pad(wave, [*still, (-delay, 0)])
    return np.pad(wave[..., :length], [*still, (0, max(0, length - wave.shape[-1]))])


def _correlation(
    references: Sequence[NDArray[np.floating]], others: Sequence[NDArray[np.floating]], limit: int
) -> NDArray[np.float64]:
    """Normalised cross-correlation (2 * limit + 1,) at lags from -limit to limit, over all pairs together."""
    total, energies = np.zeros(2 * limit + 1), np.zeros(2)
    for one, other in zip(references, others, strict=True):
        size = 1 << int(len(one) + len(other) + limit).bit_length()
        product = np.fft.rfft(other.astype(np.float64), size) * np.conj(np.fft.rfft(one.astype(np.float64), size))
        everywhere = np.fft.irfft(product, size)
        total += np.concatenate([everywhere[-limit:], everywhere[: limit + 1]]) if limit else everywhere[:1]
        energies += [np.square(one, dtype=np.float64).sum(), np.square(other, dtype=np.float64).sum()]
    scale = float(np.sqrt(energies.prod()))
    return total / scale if scale else total


def _envelope(wave: Wave, step: int) -> NDArray[np.float64]:
    """Root mean square of each `step` samples, without its mean."""
    whole = wave[: len(wave) // step * step].astype(np.float64).reshape(-1, step)
    level = np.sqrt(np.square(whole).mean(axis=1))
    return np.asarray(level - level.mean()) if len(level) else level
