"""docs/language-models.md: its examples run, and do what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

from mixcodec import load, read_audio

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "language-models.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """What the names of the page stand for, once all its examples have run in a folder with the clips; and what they wrote."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "examples").symlink_to(ROOT / "examples")
    names: dict = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for example in EXAMPLES:
            exec(compile(example, "docs/language-models.md", "exec"), names)
        return names | {"made.wav": read_audio("made.wav")}


def test_the_first_example_is_whole_and_short():
    assert EXAMPLES[0].startswith("import numpy")
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 30


def test_it_tokenizes_each_clip_as_if_alone(room):
    codec = load("speech-16k")
    for wave, rate, tokens in zip(room["waves"], room["rates"], room["batch"], strict=True):
        assert tokens == codec.wave_to_tokens(wave, rate, codebooks=2)
    for tokens, row in zip(room["batch"], room["ids"], strict=True):
        assert row[-1] == 2048
        assert np.array_equal(row[:-1].reshape(-1, 2) - [0, 1024], tokens.codes)


def test_it_generates_frames_and_their_sound(room):
    codes, (wave, rate) = room["codes"], room["made.wav"]
    assert codes.shape[0] > 20
    assert codes.min() >= 0
    assert codes.max() < 1024
    assert (rate, len(wave)) == (16000, codes.shape[0] * 320 - 320)
    assert np.abs(wave).max() > 0.01


def test_the_mask_is_of_what_is_real(room):
    for row, mask, ids in zip(room["padded"], room["real"], room["ids"], strict=True):
        assert np.array_equal(row[mask], ids)
        assert (row[~mask] == 2049).all()


def test_the_streams_end_where_the_whole_does(room):
    codec = load("speech-16k")
    assert np.abs(room["sound"] - codec.codes_to_wave(room["codes"])[-320:]).max() < 1e-3
    assert room["rest"].shape == (0,)
    assert np.array_equal(room["heard"], room["batch"][0].codes[-len(room["heard"]) :])


def test_the_table_says_how_many_ids_there_are():
    for name, books in (("speech-16k-single", 1), ("speech-16k", 2), ("speech-16k", 6)):
        codec = load(name)
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}`") and (books == 1 or f", {books} " in line))
        assert f"| {codec.frame_rate * books:g} | {codec.codebook_size * books:,} |" in row


def test_links_lead_somewhere():
    assert all((ROOT / "docs" / target).exists() for target in re.findall(r"\]\(([^)#:]+)\)", PAGE))
