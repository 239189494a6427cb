"""Entropy-constrained choice of codes: what it chooses, and what it saves."""

import math

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers import QUANTIZERS


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_choice_against_brute_force(metric):
    torch.manual_seed(0)
    level = QUANTIZERS.build({"kind": "vq", "size": 50, "dim": 3, "metric": metric, "thrift": 0.05}, channels=6).eval()
    level.count.copy_(torch.arange(1.0, 51.0) ** 3)
    if metric == "euclidean":
        level.entries.mul_(torch.rand(50, 1) + 0.5)
    z = torch.randn(1, 40, 6)
    x = level._inside(z)[0].detach().double().numpy()
    entries, count = level.entries.double().numpy(), level.count.double().numpy()
    bits = [-math.log2(c / count.sum()) for c in count]
    best = [min(range(50), key=lambda i: ((p - entries[i]) ** 2).sum() / 2 + 0.05 * bits[i]) for p in x]
    assert level.vectors_to_codes(z)[0, :, 0].tolist() == best
    assert best != [min(range(50), key=lambda i: ((p - entries[i]) ** 2).sum()) for p in x]


def test_thrift_lowers_the_entropy_and_little_else():
    """Learned on the same skewed source: fewer bits, at an error that grows less than as many bits fewer would make it."""

    def entropy_and_error(thrift):
        torch.manual_seed(1)
        level = QUANTIZERS.build({"kind": "vq", "size": 64, "dim": 4, "thrift": thrift, "restart": 0.0}, channels=4)
        z = torch.randn(1, 20_000, 4) * torch.tensor([4.0, 2.0, 1.0, 0.5])
        level.start(z[0])
        level.train()
        for _ in range(40):
            level(z)
        codes = level.eval().vectors_to_codes(z)
        shares = np.bincount(codes.flatten().numpy(), minlength=64) / codes.numel()
        x = level._inside(z)
        return -(shares[shares > 0] * np.log2(shares[shares > 0])).sum(), float(
            (x - level._stands_for(codes)).detach().square().mean()
        )

    (bits, error), (fewer, more) = entropy_and_error(0.0), entropy_and_error(0.02)
    assert fewer < bits - 0.3
    assert more < error * 2 ** (2 * (bits - fewer) / 3)  # a source on the sphere in 4 dimensions has 3


@pytest.mark.parametrize("thrift", [-0.1, 1.0, True, "much"])
def test_impossible_thrift(thrift):
    with pytest.raises(ConfigError, match="thrift"):
        QUANTIZERS.build({"kind": "vq", "thrift": thrift}, channels=4)
