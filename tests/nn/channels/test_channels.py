"""Laws of channel mixers."""

import re

import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS, StarReLU
from mixcodec.nn.channels.glu import GATES
from mixcodec.nn.metaformer import Block

ALONE = [kind for kind in CHANNELS.kinds() if not CHANNELS.build(kind, channels=12).initial_state(1)]
CASES = [{"kind": kind} for kind in ALONE if kind != "none"] + [{"kind": "glu", "gate": gate, "bias": False} for gate in GATES]


@pytest.mark.parametrize("config", CASES, ids=str)
def test_each_token_alone_keeps_its_shape_and_every_parameter_learns(config):
    torch.manual_seed(0)
    part = CHANNELS.build(config, channels=12).eval()  # in training a codebook would learn from one call to the next
    x = torch.randn(2, 3, 4, 12)
    torch.testing.assert_close(part(x)[1, 2, 3], part(x[1, 2, 3]))
    y = part.train()(x)
    assert y.shape == x.shape
    (y * torch.randn_like(y)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in part.parameters())


@torch.no_grad()
@pytest.mark.parametrize("kind", CHANNELS.kinds())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_the_type_of_the_tokens_is_kept(kind, dtype):
    torch.manual_seed(0)
    part = CHANNELS.build(kind, channels=12).eval().to(dtype)
    y = part(torch.randn(2, 5, 12, dtype=dtype))
    assert y.dtype == dtype
    assert y.isfinite().all()
    if part.causal:
        assert part.step(torch.randn(2, 5, 12, dtype=dtype), part.initial_state(2))[0].dtype == dtype


@pytest.mark.parametrize("kind", CHANNELS.kinds())
def test_a_kind_names_its_paper_its_shape_its_cost_and_its_state(kind):
    part = CHANNELS._class(kind)
    told = " ".join((part.__doc__ or "").split())
    assert re.search(r"[A-Z]\w+( et al\.| and [A-Z]\w+)?, (19|20)\d\d, [A-Z]", told)
    assert re.search(r"\((\.\.\.|B, \*grid), C\)", told)
    assert re.search(r"[Cc]ost per token|no cost", told)
    keeps = CHANNELS.build(kind, channels=12).initial_state(1)
    assert re.search(r"State: " if keeps else r"[Nn]o state|no parameters", told)


def test_star_relu_keeps_mean_and_variance_of_a_standard_normal():
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(1))
    y = StarReLU()(x)
    assert abs(y.mean()) < 0.005  # five standard errors
    assert abs(y.var() - 1) < 0.02


def test_star_mlp_is_its_formula():
    part = CHANNELS.build({"kind": "star_mlp", "expansion": 2}, channels=6)
    x = torch.randn(5, 6)
    hidden = 0.8**0.5 * F.relu(x @ part.up.weight.T) ** 2 - 0.2**0.5
    torch.testing.assert_close(part(x), hidden @ part.down.weight.T)


def test_silu_glu_without_biases_is_the_gated_one():
    gated, glu = CHANNELS.build("gated", channels=6), CHANNELS.build({"kind": "glu", "gate": "silu", "bias": False}, channels=6)
    glu.load_state_dict(gated.state_dict())
    x = torch.randn(5, 6)
    assert torch.equal(glu(x), gated(x))


def test_sigmoid_glu_is_torchs():
    glu = CHANNELS.build({"kind": "glu", "gate": "sigmoid"}, channels=6)
    x = torch.randn(5, 6)
    gate, value = glu.up(x).chunk(2, -1)
    torch.testing.assert_close(glu(x), glu.down(F.glu(torch.cat([value, gate], -1), -1)))


def test_an_unknown_gate_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'gelu'"):
        CHANNELS.build({"kind": "glu", "gate": "glue"}, channels=6)


def test_none_leaves_a_block_its_mixer_alone():
    block, x = Block(6, "convolution", "none"), torch.randn(2, 5, 6)
    assert torch.equal(block(x), x + block.mixer_scale * block.mixer(block.mixer_norm(x)))
    assert not list(block.channel.parameters())
