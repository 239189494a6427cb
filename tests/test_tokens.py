"""Tokens check themselves."""

from dataclasses import replace

import numpy as np
import pytest

from mixcodec.errors import TokensError
from mixcodec.tokens import Tokens, code_bits

GOOD = Tokens(np.arange(24).reshape(4, 6), 50.0, 1000, 16000, 1024, "tiny", "0" * 32)


def test_facts():
    assert (GOOD.frames, GOOD.codebooks, GOOD.channels) == (4, 6, 1)
    assert GOOD.kbps == pytest.approx(3.0)
    assert GOOD.seconds == 1000 / 16000
    stereo = replace(GOOD, codes=np.stack([GOOD.codes] * 2))
    assert (stereo.channels, stereo.kbps) == (2, pytest.approx(6.0))


def test_fewer_codebooks():
    fewer = GOOD.with_codebooks(2)
    assert np.array_equal(fewer.codes, GOOD.codes[:, :2])
    assert fewer.kbps == pytest.approx(1.0)
    for count in (0, 7):
        with pytest.raises(TokensError, match="choose 1 to 6"):
            GOOD.with_codebooks(count)


def test_equality():
    assert replace(GOOD, codes=GOOD.codes.astype(np.int16)) == GOOD
    assert replace(GOOD, codes=GOOD.codes + 1) != GOOD
    assert replace(GOOD, sample_count=999) != GOOD
    assert GOOD != 3


@pytest.mark.parametrize(("size", "bits"), [(2, 1), (3, 2), (1000, 10), (1024, 10), (1025, 11)])
def test_code_bits(size, bits):
    assert code_bits(size) == bits


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.zeros(3, int)},
        {"codes": np.zeros((2, 3), float)},
        {"codes": np.zeros((2, 0), int)},
        {"codes": np.zeros((0, 2, 3), int)},
        {"codes": np.full((2, 3), -1)},
        {"codes": np.full((2, 3), 1024)},
        {"codebook_size": 1},
        {"frame_rate": 0.0},
        {"frame_rate": float("nan")},
        {"sample_count": -1},
        {"sample_rate": 0},
        {"model": "../x"},
        {"model": ""},
        {"fingerprint": "0" * 31},
        {"fingerprint": "G" * 32},
    ],
)
def test_contradictions_are_refused(change):
    with pytest.raises(TokensError):
        replace(GOOD, **change)
