"""Real speech for the evaluation's tests, and a data folder made of it."""

from pathlib import Path

import numpy as np
import pytest

from mixcodec import read_audio, write_audio

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16000


@pytest.fixture(scope="session")
def speech():
    """About three seconds of real speech, 16-bit values, mono 16 kHz."""
    wave, rate = read_audio(sorted(EXAMPLES.glob("*.flac"))[0])
    assert rate == RATE
    return wave[: 3 * RATE]


@pytest.fixture(scope="session")
def data(tmp_path_factory, speech):
    """A folder of four clips in two languages, with a manifest."""
    root = tmp_path_factory.mktemp("data")
    rows = ["path\tsource\tspeaker\tkind\tsplit"]
    for number, (speaker, start) in enumerate([("de", 0), ("de", 4000), ("en_GB_anna", 8000), ("en_GB_anna", 12000)]):
        write_audio(root / f"clip{number}.wav", speech[start : start + 2 * RATE], RATE)
        rows.append(f"clip{number}.wav\ttest\t{speaker}\tspeech\teval")
    (root / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def noise():
    return np.random.default_rng(3).standard_normal(3 * RATE).astype(np.float32) * np.float32(0.05)
