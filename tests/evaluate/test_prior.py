"""The neural prior finds the entropy of a source that is known."""

import math

import numpy as np
import pytest
import torch

from mixcodec.evaluate.prior import Prior, fit, mean_bits, pairs


def clip(random, frames):
    """Book 0: stays with probability 3/4, else one of 8. Book 1: book 0's code, plus a fair bit."""
    fresh, moves = random.integers(0, 8, frames), random.random(frames) < 1 / 4
    moves[0] = True
    first = fresh[np.maximum.accumulate(np.where(moves, np.arange(frames), 0))]
    return np.stack([first, (first + random.integers(0, 2, frames)) % 8], axis=1)


def test_a_markov_source():
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    prior = Prior(2, 8, 16, hidden=False)
    fit(prior, *pairs([clip(random, 3000) for _ in range(4)], 8), steps=600, decay=0)
    bits = mean_bits(prior, *pairs([clip(random, 6400)], 8))
    stay, move = 3 / 4 + 1 / 32, 1 / 32
    entropy = -stay * math.log2(stay) - 7 * move * math.log2(move)
    first = (63 * entropy + 3) / 64  # the first frame of a packet has none before it
    assert bits == pytest.approx([first, 1.0], rel=0.06)
    assert bits.min() > 0.95


def test_what_a_frame_sees():
    codes = np.arange(1, 131)[:, None] % 8
    before, frames = pairs([codes, codes[:3]], 8)
    assert before[0] == before[64] == before[128] == before[130] == 8
    assert torch.equal(before[1:64], frames[:63])
