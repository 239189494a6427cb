"""A small made-up corpus: every speaker is a tone of its own, so that a segment tells whose samples are in it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

RATE = 16000
TONES = {"game/ann": 500.0, "game/bob": 1000.0, "words/cy": 2000.0, "words/di": 4000.0}  # Hz of each unit
CLIPS = {"game/ann": [3.0, 1.5], "game/bob": [0.5] * 6, "words/cy": [0.4, 0.6, 0.7], "words/di": [5.0]}  # seconds

Write = Callable[..., Path]


def tone(hz: float, seconds: float, rate: int = RATE, amplitude: float = 0.3) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("a/b.wav", samples, rate) puts an audio file below tmp_path/corpus."""

    def write_audio(path: str, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
        target = tmp_path / "corpus" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sf.write(target, samples, rate, **options)
        return target

    return write_audio


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers in two sources, with a manifest.tsv; read only."""
    root = tmp_path_factory.mktemp("corpus")
    rows = ["path\tseconds\trate\tkind\tsource\tspeaker\tsplit\tlicence"]
    for unit, lengths in CLIPS.items():
        source, speaker = unit.split("/")
        (root / source).mkdir(exist_ok=True)
        for i, seconds in enumerate(lengths):
            path = f"{source}/{speaker}{i}.wav"
            sf.write(root / path, tone(TONES[unit], seconds), RATE)
            rows.append(f"{path}\t{seconds}\t{RATE}\tspeech\t{source}\t{speaker}\ttrain\tCC0")
    for name, split, kind in (("held", "eval", "speech"), ("song", "train", "music")):
        sf.write(root / f"{name}.flac", tone(300.0, 1.0), RATE)
        rows.append(f"{name}.flac\t1.0\t{RATE}\t{kind}\t{name}\t\t{split}\tCC0")
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return root
