"""What mixers say that they cost, against what is known by hand."""

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
