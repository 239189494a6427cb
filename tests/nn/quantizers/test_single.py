"""One code a frame: the recipe of a single large codebook."""

from pathlib import Path

import pytest
import torch

from mixcodec.nn.codec import CodecNet
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.train import load_recipe

RECIPE = Path(__file__).parents[3] / "configs" / "single-24k.yaml"


@pytest.mark.parametrize(("hop", "tokens"), [(600, 40), (320, 75)])
def test_a_second_at_24_khz_is_so_many_tokens(hop, tokens):
    net = CodecNet(load_recipe(RECIPE, [f"codec.transform.hop={hop}"]).codec).eval()
    wave = torch.randn(1, 3 * 24000)
    with torch.no_grad():
        codes, _ = net.encode(wave, net.encoder_state(1))
        decoded, _ = net.decode(codes, net.decoder_state(1))
    assert codes.shape == (1, 3 * tokens, 1)
    assert net.codebook_size == 4096
    assert decoded.shape == wave.shape


def test_restarts_keep_a_large_codebook_in_use_and_without_them_it_is_not():
    """Half of the entries begin at one point."""
    share = {}
    for restart in (0.0, 0.1):
        torch.manual_seed(0)
        options = load_recipe(RECIPE).codec["quantizer"] | {"size": 512, "restart": restart, "fitted": False}
        quantizer = QUANTIZERS.build(options, channels=16)
        quantizer.start(torch.randn(4000, 16))
        quantizer.entries[:256] = quantizer.entries[0]
        quantizer.total[:256] = quantizer.entries[0]
        for _ in range(120):
            quantizer(torch.randn(1, 1024, 16))
        share[restart] = len(quantizer.eval().vectors_to_codes(torch.randn(20_000, 16)).unique()) / 512
    assert share[0.1] > 0.75
    assert share[0.0] < 0.6
