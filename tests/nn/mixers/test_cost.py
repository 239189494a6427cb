"""What mixers say that they cost, against what is known by hand."""

import math

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS, Cost, cost
from mixcodec.nn.mixers.cost import work


def test_work_is_what_is_known_by_hand():
    x = torch.randn(2, 50, 8)
    linear = torch.nn.Linear(8, 3)
    assert work(lambda: linear(x)) == 2 * 2 * 50 * 8 * 3 + 2 * 50 * 3
    assert work(lambda: x + 1) == x.numel()
    assert work(lambda: x.mT.unflatten(1, (2, 4))) == 0  # the same numbers, seen in another way
    q = torch.randn(1, 2, 50, 4)
    assert work(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q)) >= 4 * 2 * 50 * 50 * 4


def test_a_fourier_transform_counts_its_logarithm():
    """5 n log2 n for n complex numbers, half for real ones, beside the numbers written."""
    x = torch.randn(3, 64, 8)
    z, half = torch.fft.fft(x, dim=1), torch.fft.rfft(x, dim=1)
    assert work(lambda: torch.fft.fft(z, dim=1)) == 5 * z.numel() * 6 + z.numel()
    assert work(lambda: torch.fft.fftn(z, dim=(1, 2))) == 5 * z.numel() * (6 + 3) + z.numel()
    assert work(lambda: torch.fft.rfft(x, dim=1)) == 2.5 * x.numel() * 6 + half.numel()
    least = 2.5 * x.numel() * 6 + x.numel()
    assert least <= work(lambda: torch.fft.irfft(half, 64, dim=1)) <= least + 2 * half.numel()  # it may copy its input
    assert work(lambda: torch.fft.rfft(x[:, :60], dim=1)) == int(2.5 * 3 * 60 * 8 * math.log2(60) + 3 * 31 * 8)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("identity", Cost(0, 0)),
        ({"kind": "convolution", "kernel": 5, "causal": False}, Cost(8 * (2 * 5 + 1), 0)),
        (
            {"kind": "convolution", "kernel": 5},
            Cost(8 * (2 * 5 + 1 + (256 + 4 + 4) / 256), 4 * 8),
        ),
    ],
)
def test_cost_of_a_token(config, expected):
    assert cost(MIXERS.build(config, channels=8), 8) == expected


def test_cost_on_a_plane_is_that_of_a_token_too():
    plane = MIXERS.build({"kind": "convolution", "kernel": 3, "causal": False, "rank": 2}, channels=4)
    assert cost(plane, 4, (8, 16)).operations == 4 * (2 * 9 + 1)
    with pytest.raises(ConfigError, match="rank 2"):
        cost(plane, 4, (8,))


def test_state_is_what_a_stream_carries():
    """Of an attention the keys and values of its window, and whether there are any; a convolution's past stands above."""
    attention = MIXERS.build({"kind": "attention", "heads": 2, "window": 10}, channels=16)
    assert cost(attention, 16).state == 10 * (2 * 16 + 1)
    assert cost(MIXERS.build("hydra", channels=16), 16).state == 0
