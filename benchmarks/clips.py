"""The real speech that speed and memory are measured on: the bundled clips, looped, at 16 kHz; and the runs of the command."""

import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from mixcodec import read_audio

SAMPLE_RATE = 16000
EXAMPLES = Path(__file__).parent.parent / "examples"
COMMAND = (sys.executable, "-c", "import sys; from mixcodec.cli.main import main; sys.exit(main())")
"""What the console script `mixcodec` does, in this interpreter."""


def looped_speech(seconds: float) -> np.ndarray:
    """The bundled clips one after the other, again and again: float32 (N,), `seconds` long."""
    clips = [read_audio(path) for path in sorted(EXAMPLES.glob("*.flac"))]
    assert all(rate == SAMPLE_RATE and wave.ndim == 1 for wave, rate in clips)
    return np.resize(np.concatenate([wave for wave, _ in clips]), round(seconds * SAMPLE_RATE))


def write_looped_speech(path: Path, seconds: int) -> Path:
    """Looped speech as a 16-bit wav, ten seconds of it after the other."""
    piece = looped_speech(10)
    with sf.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for start in range(0, seconds, 10):
            file.write(piece[: (seconds - start) * SAMPLE_RATE])
    return path
