"""How much of a codebook is in use after training on features in clusters of unlike size and width, as speech has them."""

import pytest
import torch

from mixcodec.nn.quantizers import QUANTIZERS

CHANNELS, SIZE = 16, 512


def features(count, draw):
    world = torch.Generator().manual_seed(1)
    centres = 2 * torch.randn(40, CHANNELS, generator=world)
    width = 0.8 + torch.rand(40, 1, generator=world)
    cluster = torch.multinomial(torch.rand(40, generator=world), count, replacement=True, generator=draw)
    points = centres[cluster] + width[cluster] * torch.randn(count, CHANNELS, generator=draw)
    return points * torch.linspace(2, 0.2, CHANNELS)


def share_in_use(config):
    """Of the entries, the share that is the code of some of 20 000 new features after 250 steps of training."""
    quantizer = QUANTIZERS.build({"size": SIZE, "dim": 4, **config}, channels=CHANNELS)
    draw = torch.Generator().manual_seed(2)
    quantizer.start(features(4000, draw))
    optimizer = torch.optim.Adam(quantizer.parameters(), 3e-3)
    for _ in range(250):
        z = features(1024, draw)[None]
        quantized = quantizer(z)
        optimizer.zero_grad()
        ((quantized.vectors - z).square().mean() + quantized.loss).backward()
        optimizer.step()
    return len(quantizer.eval().vectors_to_codes(features(20_000, draw)).unique()) / SIZE


def test_a_codebook_learned_by_gradients_alone_collapses():
    assert share_in_use({"kind": "vq_gradient"}) < 0.5


@pytest.mark.parametrize(
    "config",
    [{"kind": "simvq"}, {"kind": "frozen_bank"}, {"kind": "vq", "metric": "euclidean"}, {"kind": "vq_gradient", "fitted": True}],
    ids=lambda config: config["kind"],
)
def test_what_is_there_against_collapse_keeps_the_codebook_in_use(config):
    assert share_in_use(config) > 0.95
