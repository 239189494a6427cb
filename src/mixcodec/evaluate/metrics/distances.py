"""Distances between waveforms and between spectrograms, each computed here from its formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError
from mixcodec.runtime.mel import MelDistance

MAX_SI_SDR = 100.0
"""dB: what a perfect copy is given, since its true value is infinite."""
STFT_SIZES = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))
"""(FFT, hop, window) in samples, as in Parallel WaveGAN."""
STFT_FLOOR = 1e-5
LSD_WINDOW_SECONDS = 0.032
LSD_FLOOR = 1e-10


@METRICS.register("mel")
class MelMetric(Metric):
    """Mean absolute difference of log-mel amplitudes."""

    kind = "mel"
    scales = (Scale("mel_distance", "mel distance", 0.0, np.inf, higher_is_better=False, followed=True),)
    source = "80 bands, ln amplitude, floor 1e-5 (docs of mixcodec.runtime.mel); computed here"
    sample_rate = None

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        distance = MelDistance(sample_rate, 1)
        distance.push(prepared[None], wave[None])
        return {"mel_distance": distance.finish()}


@METRICS.register("stft")
class StftMetric(Metric):
    """Spectral convergence plus log-magnitude distance, over three resolutions."""

    kind = "stft"
    scales = (Scale("stft_distance", "STFT distance", 0.0, np.inf, higher_is_better=False, followed=True),)
    source = "Yamamoto, Song, Kim, 2020, Parallel WaveGAN (multi-resolution STFT loss, its three sizes); computed here"
    sample_rate = None

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        if not np.any(prepared):
            raise UnscorableError("the reference is silent")
        total = 0.0
        for size, hop, window in STFT_SIZES:
            first, second = (_magnitudes(signal, size, hop, window) for signal in (prepared, wave))
            convergence = float(np.linalg.norm(first - second) / np.linalg.norm(first))
            logs = np.log(np.maximum(first, STFT_FLOOR)) - np.log(np.maximum(second, STFT_FLOOR))
            total += convergence + float(np.abs(logs).mean())
        return {"stft_distance": total / len(STFT_SIZES)}


@METRICS.register("si_sdr")
class SiSdrMetric(Metric):
    """Scale-invariant signal-to-distortion ratio: how much of the very waveform is left."""

    kind = "si_sdr"
    scales = (Scale("si_sdr", "SI-SDR", -np.inf, MAX_SI_SDR, higher_is_better=True, unit="dB", digits=2, followed=True),)
    source = (
        "Le Roux, Wisdom, Erdogan, Hershey, 2019, SDR - half-baked or well done? (means removed, capped at 100 dB); computed here"
    )
    sample_rate = None

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        reference, estimate = (signal.astype(np.float64) - signal.mean(dtype=np.float64) for signal in (prepared, wave))
        energy = float(reference @ reference)
        if not energy:
            raise UnscorableError("the reference is silent")
        target = (estimate @ reference) / energy * reference
        noise = estimate - target
        wanted, unwanted = float(target @ target), float(noise @ noise)
        if not wanted:
            raise UnscorableError("nothing of the reference is left in the decoded clip")
        ratio = wanted / max(unwanted, wanted * 10 ** (-MAX_SI_SDR / 10))
        return {"si_sdr": 10 * float(np.log10(ratio))}


@METRICS.register("lsd")
class LsdMetric(Metric):
    """Log-spectral distance: root mean square over frequency, mean over frames, of the difference of log power."""

    kind = "lsd"
    scales = (Scale("lsd", "log-spectral distance", 0.0, np.inf, higher_is_better=False, unit="dB", digits=2, followed=True),)
    source = "Gray, Markel, 1976, Distance measures for speech processing (32 ms Hann, hop 8 ms, floor 1e-10); computed here"
    sample_rate = None

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        window = round(LSD_WINDOW_SECONDS * sample_rate)
        levels = [
            10 * np.log10(np.maximum(_magnitudes(signal, window, window // 4, window) ** 2, LSD_FLOOR))
            for signal in (prepared, wave)
        ]
        return {"lsd": float(np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=1)).mean())}


def _magnitudes(wave: Wave, size: int, hop: int, window: int) -> NDArray[np.float64]:
    """|STFT| (frames, size / 2 + 1) with a periodic Hann window, the ends reflected by half an FFT as usual."""
    half = size // 2
    padded = np.pad(wave.astype(np.float64), half, mode="reflect" if len(wave) > half else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    taper = np.zeros(size)
    start = (size - window) // 2
    taper[start : start + window] = np.hanning(window + 1)[:-1]
    return np.asarray(np.abs(np.fft.rfft(frames * taper)))
