"""Which codecs a bake-off trains: bits, parameters and operations are counted anew here."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mixcodec.errors import ConfigError
from mixcodec.evaluate.compare.mixers import FLOPS, MATCH, PARAMETERS, mixer_variants
from mixcodec.evaluate.compare.offline import OfflineNet
from mixcodec.evaluate.compare.quantizers import levels_of, quantizer_variants
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.train import load_recipe

KINDS = ("convolution", "attention", "linear_attention", "identity", "fourier", "retention")


@pytest.fixture(scope="module")
def codec():
    from pathlib import Path

    return load_recipe(Path(__file__).parents[3] / "configs" / "compare" / "mixers.yaml").codec


@pytest.fixture(scope="module")
def mixed(codec):
    return mixer_variants(codec, KINDS)


def test_a_base_without_a_mixer_to_replace_is_an_error(codec):
    with pytest.raises(ConfigError, match="stages is empty, so there is no mixer"):
        mixer_variants(codec | {"encoder": codec["encoder"] | {"stages": []}}, ["pooling"])
    with pytest.raises(ConfigError, match="stages is None"):
        mixer_variants(codec | {"encoder": codec["encoder"] | {"stages": None}}, ["pooling"])


def test_every_quantizer_is_in_a_table_and_none_goes_unsaid(codec):
    found = quantizer_variants(codec)
    assert {variant.kind for variant in found} == set(QUANTIZERS.kinds())
    assert [variant.name for variant in found if variant.problem] == []
    assert len({(variant.group, variant.name) for variant in found}) == len(found)


def test_quantizers_make_the_bits_that_their_table_says(codec):
    wave = torch.randn(1, 32 * 320)
    for variant in quantizer_variants(codec):
        if variant.control:
            continue
        net = CodecNet(variant.codec).eval()
        codes = net.encode(wave, net.encoder_state(1))[0][0]
        # a code that stands for several frames is paid for once: count how many are free to differ
        changes = sum(math.ceil(len(codes) / stride) for stride in net.quantizer.strides)
        bits = changes * math.log2(net.codebook_size) / len(codes)
        wanted = 60 if variant.group == "3 kbps" else 14
        assert bits == pytest.approx(wanted, rel=0.03), variant.name


@pytest.mark.parametrize("entries", [16, 64, 256, 1000, 1024, 4096, 1 << 14, 1 << 16])
def test_levels_multiply_to_about_the_entries(entries):
    levels = levels_of(entries)
    assert math.log2(math.prod(levels)) == pytest.approx(math.log2(entries), rel=0.01)
    assert all(3 <= level <= 8 for level in levels)


def test_mixers_have_the_parameters_of_the_base(codec, mixed):
    wanted = sum(p.numel() for p in CodecNet(codec).parameters())
    found = [variant for variant in mixed if variant.group == PARAMETERS]
    assert {variant.kind for variant in found} == set(KINDS)
    for variant in found:
        assert variant.problem == ""
        net = (CodecNet if variant.streams else OfflineNet)(variant.codec)
        assert sum(p.numel() for p in net.parameters()) == pytest.approx(wanted, rel=MATCH), variant.name
        assert {block.mixer.causal for block in net.encoder.blocks} == {variant.streams}


def test_mixers_do_the_operations_of_the_base(codec, mixed):
    def count(config, streams):
        net = (CodecNet if streams else OfflineNet)(config).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.encoder(torch.zeros(1, 100, net.transform.feature_channels))
            net.decoder(torch.zeros(1, 100, config["latent"]))
        return counter.get_total_flops()

    wanted = count(codec, True)
    for variant in mixed:
        if variant.group == FLOPS:
            assert variant.problem == ""
            off = abs(count(variant.codec, variant.streams) / wanted - 1)
            assert off <= MATCH or variant.kind == "attention", variant.name  # of which torch's counter misses a part


def test_a_variant_that_meets_both_budgets_is_trained_once(mixed):
    both = {variant.kind: [v.codec for v in mixed if v.kind == variant.kind] for variant in mixed}
    assert both["identity"][0] == both["identity"][1]
    assert both["linear_attention"][0] != both["linear_attention"][1]


def test_kinds_that_are_not_there_name_the_nearest(codec):
    with pytest.raises(ConfigError, match=r"no mixer 'convolutoin': did you mean 'convolution'\?"):
        mixer_variants(codec, ["convolutoin"])
    with pytest.raises(ConfigError, match=r"no quantizer 'simqv': did you mean 'simvq'\?"):
        quantizer_variants(codec, ["simqv"])


def test_a_kind_that_cannot_be_built_is_a_variant_with_its_reason(codec, monkeypatch):
    class Broken(torch.nn.Module):
        def __init__(self, channels):
            raise RuntimeError("out of\norder")

    monkeypatch.setitem(MIXERS._classes, "broken", Broken)
    found = mixer_variants(codec, ["broken"])
    assert [variant.problem for variant in found] == ["RuntimeError: out of order"] * 2
