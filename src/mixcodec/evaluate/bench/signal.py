"""What the codecs are given: a file of the user's, or a synthetic voice, as long as is wanted and at any rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixcodec.audio import AudioWriter, Wave, read_audio, resample
from mixcodec.errors import AudioError
from mixcodec.files import atomic_output

PERIOD = 10
"""Seconds after which the synthetic voice begins again."""
SYNTHETIC = f"synthetic voice, {PERIOD} s, repeated"


def synthetic_voice(sample_rate: int) -> Wave:
    """PERIOD seconds of something like speech, always the same: (N,), peak 0.5.

    Harmonics of a gliding pitch below a falling envelope, in syllables of a quarter second of which some are hissed and
    every seventh is silent. Not a test of quality: it is only to give every codec sound, hiss and pauses to work on.
    """
    time = np.arange(PERIOD * sample_rate) / sample_rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    pitch = 120 * 2 ** (0.4 * np.sin(2 * np.pi * 0.31 * time) + 0.1 * np.sin(2 * np.pi * 1.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voiced = np.zeros(len(time))
    for harmonic in range(1, 30):
        formants = sum(np.exp(-(((harmonic * pitch - centre) / 250) ** 2)) for centre in (500, 1500, 2500))
        voiced += (0.1 + formants) / harmonic**0.5 * np.sin(harmonic * phase) * (harmonic * pitch < 0.45 * sample_rate)
    syllable = (4 * time).astype(int)
    hissed = np.diff(noise, prepend=0.0) * (syllable % 3 == 2)
    wave = (voiced * (syllable % 3 != 2) + hissed) * np.sin(np.pi * (4 * time % 1)) * (syllable % 7 != 6)
    return np.asarray(0.5 * wave / np.abs(wave).max(), np.float32)


def clip(audio: Path | None, sample_rate: int) -> Wave:
    """The file's sound in mono, or the synthetic voice where there is none: (N,) at `sample_rate`.

    Raises:
        FileError, AudioError: it cannot be read, or has no samples.
    """
    if audio is None:
        return synthetic_voice(sample_rate)
    wave, rate = read_audio(audio)
    mono = wave if wave.ndim == 1 else wave.mean(axis=0, dtype=np.float32)
    if not mono.size:
        raise AudioError(f"{audio}: has no samples; give a file with sound")
    return resample(mono, rate, sample_rate)


def write_looped(path: Path, wave: Wave, sample_rate: int, seconds: float) -> None:
    """Write the wave (N,) again and again until the 16-bit wav is `seconds` long."""
    left = round(seconds * sample_rate)
    with atomic_output(path) as file:
        writer = AudioWriter(file, sample_rate, 1, left)
        while left:
            piece = wave[:left]
            writer.write(piece)
            left -= len(piece)
        writer.finish()
