"""What a recording might also have sounded like: level, polarity, noise, room, bandwidth.

All functions are pure functions of their arguments and of an np.random.Generator; they take and return (B, N) float32.
An effect with a probability is computed only for the rows that it falls on.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from mixcodec.errors import DataError

Wave = npt.NDArray[np.float32]
Range = tuple[float, float]
PEAK = 0.99


@dataclasses.dataclass(frozen=True)
class Augment:
    """What is done to a batch, in this order: bandwidth, room, noise, polarity, level."""

    level_dbfs: Range | None = (-32.0, -14.0)  # active level is drawn uniformly from here; None only keeps peaks within range
    p_flip: float = 0.5  # probability of inverted polarity
    p_noise: float = 0.0  # probability of added coloured noise
    snr_db: Range = (10.0, 40.0)  # its signal-to-noise ratio, against the active level
    p_room: float = 0.0  # probability of a synthetic room response
    rt60: Range = (0.1, 0.6)  # its reverberation time in seconds
    p_lowpass: float = 0.0  # probability of a bandwidth limit
    cutoff_hz: Range = (3000.0, 8000.0)  # where that limit lies

    def __post_init__(self) -> None:
        for name in ("p_flip", "p_noise", "p_room", "p_lowpass"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is {getattr(self, name)}, not a probability from 0 to 1")
        for name in ("level_dbfs", "snr_db", "rt60", "cutoff_hz"):
            bounds = getattr(self, name)
            if bounds is not None and not (len(bounds) == 2 and bounds[0] <= bounds[1]):
                raise DataError(f"{name} is {bounds}, not a range (low, high)")
        if self.level_dbfs and self.level_dbfs[1] > 0:
            raise DataError(f"level_dbfs reaches {self.level_dbfs[1]} dBFS, but 0 is full scale")
        if self.rt60[0] <= 0 or self.cutoff_hz[0] <= 0:
            raise DataError("rt60 and cutoff_hz are ranges of positive numbers")

    def __call__(self, wave: Wave, sample_rate: int, rng: np.random.Generator) -> Wave:
        """(B, N) in [-1, 1] -> (B, N) in [-1, 1]."""
        wave = low_pass(wave, sample_rate, rng, self.p_lowpass, self.cutoff_hz)
        wave = add_room(wave, sample_rate, rng, self.p_room, self.rt60)
        wave = add_noise(wave, sample_rate, rng, self.p_noise, self.snr_db)
        wave = flip_polarity(wave, rng, self.p_flip)
        return set_level(wave, sample_rate, rng, self.level_dbfs)


def frame_power(wave: Wave, sample_rate: int) -> Wave:
    """(..., N) -> (..., T): mean square of each whole 20 ms frame (of all samples, if they are fewer)."""
    size = min(max(1, sample_rate // 50), max(1, wave.shape[-1]))
    count = wave.shape[-1] // size
    frames = wave[..., : count * size].reshape(*wave.shape[:-1], count, size)
    return np.asarray(np.einsum("...i,...i->...", frames, frames) / size, dtype=np.float32)


def active_level(wave: Wave, sample_rate: int) -> npt.NDArray[np.float64]:
    """(B, N) -> (B,): level in dBFS over the 20 ms frames within 30 dB of the loudest; -inf for silence.

    A level over everything would turn a clip with pauses up, and the words in it with the pauses."""
    power = frame_power(wave, sample_rate).astype(np.float64)
    active = power >= power.max(axis=1, keepdims=True) * 1e-3
    mean = (power * active).sum(axis=1) / active.sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(mean))


def set_level(wave: Wave, sample_rate: int, rng: np.random.Generator, level_dbfs: Range | None) -> Wave:
    """A gain for each row, so that its active level is uniform in `level_dbfs`; less where a peak would pass 0.99."""
    peak = np.abs(wave).max(axis=1).astype(np.float64)
    if level_dbfs is None:
        gain = np.ones(len(wave))
    else:
        target = rng.uniform(*level_dbfs, size=len(wave))
        level = active_level(wave, sample_rate)
        gain = 10 ** ((target - np.where(np.isfinite(level), level, target)) / 20)
    gain = np.minimum(gain, PEAK / np.maximum(peak, 1e-9))
    return np.asarray(wave * gain.astype(np.float32)[:, None])


def flip_polarity(wave: Wave, rng: np.random.Generator, probability: float) -> Wave:
    sign = np.where(rng.random(len(wave)) < probability, np.float32(-1), np.float32(1))
    return np.asarray(wave * sign[:, None])


def add_noise(wave: Wave, sample_rate: int, rng: np.random.Generator, probability: float, snr_db: Range) -> Wave:
    """Noise with a spectrum between white and brown (1/f^0 .. 1/f^2 in power), `snr_db` under the active level."""
    rows = _chosen(len(wave), rng, probability)
    if not len(rows):
        return wave
    out, n = wave.copy(), wave.shape[1]
    level = active_level(wave[rows], sample_rate)
    for row, row_level in zip(rows, level, strict=True):
        exponent, snr = rng.uniform(0, 2), rng.uniform(*snr_db)
        spectrum = np.fft.rfft(rng.standard_normal(n, dtype=np.float32))
        hz = np.maximum(np.fft.rfftfreq(n, 1 / sample_rate), 50.0)  # flat under 50 Hz, or brown noise is all rumble
        noise = np.fft.irfft(spectrum * hz ** (-exponent / 2), n)
        rms = np.sqrt(np.square(noise).mean())
        if np.isfinite(row_level) and rms > 0:
            out[row] += (noise * (10 ** ((row_level - snr) / 20) / rms)).astype(np.float32)
    return out


def add_room(wave: Wave, sample_rate: int, rng: np.random.Generator, probability: float, rt60: Range) -> Wave:
    """Convolves with a direct path followed, 2 to 10 ms later, by noise that decays 60 dB in `rt60` seconds.

    The direct path keeps its time and gain; the tail's energy is 3 to 15 dB under it."""
    rows = _chosen(len(wave), rng, probability)
    if not len(rows):
        return wave
    out, n = wave.copy(), wave.shape[1]
    for row in rows:
        seconds, ratio_db = rng.uniform(*rt60), rng.uniform(3, 15)
        length = max(1, int(seconds * sample_rate))
        tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        tail *= 10 ** (-ratio_db / 20) / np.sqrt(np.square(tail).sum())
        response = np.zeros(int(rng.uniform(0.002, 0.010) * sample_rate) + 1 + length)
        response[0] = 1.0
        response[-length:] = tail
        size = _fast_length(n + len(response) - 1)
        wet = np.fft.irfft(np.fft.rfft(wave[row], size) * np.fft.rfft(response, size), size)
        out[row] = wet[:n].astype(np.float32)
    return out


def low_pass(wave: Wave, sample_rate: int, rng: np.random.Generator, probability: float, cutoff_hz: Range) -> Wave:
    """Removes what lies above a cutoff, with a raised cosine 10 % wide below it; a cutoff above half the rate removes nothing."""
    rows = _chosen(len(wave), rng, probability)
    if not len(rows):
        return wave
    out, n = wave.copy(), wave.shape[1]
    hz = np.fft.rfftfreq(n, 1 / sample_rate)
    for row in rows:
        cutoff = rng.uniform(*cutoff_hz)
        ramp = np.clip((cutoff - hz) / (0.1 * cutoff), 0, 1)
        if cutoff < sample_rate / 2:
            out[row] = np.fft.irfft(np.fft.rfft(wave[row]) * (0.5 - 0.5 * np.cos(np.pi * ramp)), n).astype(np.float32)
    return out


def _chosen(rows: int, rng: np.random.Generator, probability: float) -> npt.NDArray[np.intp]:
    return np.flatnonzero(rng.random(rows) < probability)


def _fast_length(n: int) -> int:
    """The smallest 2^a, 3 * 2^a or 5 * 2^a that is at least n: lengths an FFT likes."""
    return min(m << max(0, (-(-n // m) - 1).bit_length()) for m in (1, 3, 5))
