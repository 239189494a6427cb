"""Tokens check themselves."""

import copy
import math
import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.errors import TokensError
from mixcodec.tokens import ABSENT, Tokens, as_codes, code_bits

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
    assert GOOD.with_codebooks(np.uint8(2)) == fewer
    for count in (0, 7, 2.5, "2", True, None):
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
        {"fingerprint": None},
        {"model": 3},
        {"sample_rate": 16000.5},
        {"sample_rate": "16000"},
        {"sample_rate": True},
        {"sample_count": 1e300},
        {"sample_count": float("nan")},
        {"codebook_size": None},
        {"frame_rate": "50"},
        {"frame_rate": 50j},
    ],
)
def test_contradictions_are_refused(change):
    with pytest.raises(TokensError):
        replace(GOOD, **change)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, ">i4", ">u8"])
def test_codes_of_any_integer_type(kind):
    for codes in (
        GOOD.codes.astype(kind),
        GOOD.codes.astype(kind).tolist(),
        np.repeat(GOOD.codes.astype(kind), 2, axis=1)[:, ::2],
    ):
        tokens = replace(GOOD, codes=codes)
        assert tokens == GOOD
        assert tokens.codes.dtype == np.int64
        assert tokens.codes.dtype.isnative
    if np.dtype(kind).isnative:
        assert replace(GOOD, codes=torch.tensor(GOOD.codes.astype(kind))) == GOOD


@pytest.mark.parametrize(
    "codes",
    [
        np.full((5, 6), 1.7),
        np.full((5, 6), 1.0),
        np.full((5, 6), np.nan),
        np.ones((5, 6), complex),
        np.ones((5, 6), bool),
        np.array([["1"]]),
        np.ones((5, 6), object),
        np.ones((5, 6), "m8[s]"),
        [[1, 2], [3]],
        [[1 << 70]],
        np.full((1, 1), 2**64 - 1, np.uint64),
        None,
        "codes",
        torch.ones(5, 6),
        torch.ones(5, 6, dtype=torch.bfloat16, requires_grad=True),
        torch.ones(5, 6) > 0,
    ],
    ids=lambda codes: f"{type(codes).__name__}-{getattr(codes, 'dtype', '')}",
)
def test_what_are_no_codes(codes):
    for take in (as_codes, lambda codes: replace(GOOD, codes=codes)):
        with pytest.raises(TokensError, match="codes must") as failure:
            take(codes)
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize("kind", [int, np.int32, np.uint16, np.float64, float, torch.tensor, np.array])
def test_numbers_of_any_type_are_kept_as_plain_ones(kind):
    tokens = replace(GOOD, sample_count=kind(1000), sample_rate=kind(16000), codebook_size=kind(1024), frame_rate=kind(50))
    assert tokens == GOOD
    kept = (tokens.sample_count, tokens.sample_rate, tokens.codebook_size, tokens.frame_rate)
    assert [type(value) for value in kept] == [int, int, int, float]


def test_tokens_are_pickled_and_copied():
    for again in (pickle.loads(pickle.dumps(GOOD)), copy.copy(GOOD), copy.deepcopy(GOOD)):
        assert again == GOOD


ENDS = st.one_of(st.none(), st.integers(-40, 40))
SIGNAL = replace(GOOD, codes=np.arange(30 * 6).reshape(30, 6), sample_count=9100)


@given(start=ENDS, stop=ENDS, rate=st.sampled_from([8000, 11025, 16000, 44100]), channels=st.sampled_from([None, 2]))
def test_a_part_has_the_frames_and_the_samples_of_those(start, stop, rate, channels):
    """The law of lengths, in fractions: each frame that is taken away takes its samples along."""
    codes = SIGNAL.codes if channels is None else np.stack([SIGNAL.codes] * channels)
    whole = replace(SIGNAL, codes=codes, sample_rate=rate, sample_count=9100 * rate // 16000)
    part = whole[start:stop]
    assert np.array_equal(part.codes, codes[..., start:stop, :])
    left = whole.sample_count - (30 - part.frames) * Fraction(rate, 50)
    assert part.sample_count == max(0, math.floor(left))
    assert whole[:] == whole
    assert replace(part, codes=codes, sample_count=whole.sample_count) == whole


@given(cuts=st.lists(st.integers(0, 30), max_size=4), rate=st.sampled_from([8000, 11025, 16000]))
def test_parts_put_together_are_the_whole(cuts, rate):
    whole = replace(SIGNAL, sample_rate=rate, sample_count=9100 * rate // 16000)
    edges = [0, *sorted(cuts), 30]
    again = Tokens.concatenate(whole[first:last] for first, last in pairwise(edges))
    assert np.array_equal(again.codes, whole.codes)
    assert whole.sample_count - again.sample_count in ((0,) if rate != 11025 else (0, 1))  # there a frame is 220.5 samples


def test_tokens_of_unlike_signals_are_not_put_together():
    fewer = Tokens.concatenate([GOOD, GOOD.with_codebooks(2)])
    assert np.array_equal(fewer.codes[4:, :2], GOOD.codes[:, :2])
    assert (fewer.codes[4:, 2:] == ABSENT).all()
    assert fewer.sample_count == 4 * 320 + 1000
    stereo = replace(GOOD, codes=np.stack([GOOD.codes] * 2))
    for others in ([], [GOOD, 3], [GOOD, stereo], [GOOD, replace(GOOD, sample_rate=8000)], [GOOD, replace(GOOD, model="x")]):
        with pytest.raises(TokensError):
            Tokens.concatenate(others)


@pytest.mark.parametrize(
    "part", [3, (0, 1), slice(None, None, 2), slice(None, None, -1), slice(0.5, 3), slice("a", 3), None, np.arange(3)]
)
def test_what_is_no_part(part):
    with pytest.raises(TokensError, match="tokens are cut by"):
        GOOD[part]
    assert GOOD[np.int64(1) : 3.0 : 1] == GOOD[1:3]
    with pytest.raises(TypeError):
        iter(GOOD)
