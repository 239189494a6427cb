"""Mixers and whole blocks with the weights that other implementations had, and what those made of them.

golden/make.py says how. A block is the published one with its norms, scales of the mixed and of the residual, and channel
mixer; only drop path, which does nothing outside training, is left out. CAFormer's attention is of all tokens and without
positions. `global_attention` always rotates by them and `attention`, which configs/stages/caformer.yaml has, looks back over
a window besides, so its golden files are of `decay_attention` under a bell so wide that it is 1 everywhere.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixcodec.nn.metaformer import Block
from mixcodec.nn.mixers import MIXERS

FILES = sorted((Path(__file__).parent / "golden").glob("*.npz"))
NAMES = ["convformer", "hat-hybrid", "hat-overlapping", "mambaout-0.5", "mambaout-1.0", "poolformer", "rotary-registers"]
NAMES += ["transnext", "volo-1", "volo-2", "caformer", "efficientvim", "linfusion"]
NAMES += ["retention-parallel", "retention-recurrent", "retention-chunkwise"]
NAMES += [f"block-{name}" for name in ("poolformer", "poolformer-2", "convformer", "caformer", "mambaout", "volo")]


def test_no_file_is_missing():
    assert {file.stem for file in FILES} >= set(NAMES)


@torch.no_grad()
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_same_weights_give_the_same_output(file):
    with np.load(file) as stored:
        golden = {name: stored[name] for name in stored.files}
    x = torch.from_numpy(golden["x"]).float()
    config, channels = json.loads(str(golden["config"])), x.shape[-1]
    part = (Block(channels, **config) if "mixer" in config else MIXERS.build(config, channels=channels)).eval()
    weights = {name.removeprefix("weight."): torch.from_numpy(a).float() for name, a in golden.items() if name[:7] == "weight."}
    part.load_state_dict(weights)
    y = torch.from_numpy(golden["y"])
    told = y.isfinite()
    assert told.any()
    torch.testing.assert_close(part(x)[told], y[told], atol=2e-5, rtol=2e-5)


def retained(x, own):
    """Sun et al.'s parallel form of retention of x (B, T, C) by 4 heads: complex numbers turned by their place, decays 1 -
    2^-(5 + h), each head divided by its root mean square, a SiLU gate.
    """
    n, size = torch.arange(x.shape[1]), x.shape[-1] // 4
    q, k, v = (part.unflatten(-1, (4, size)).transpose(1, 2) for part in (x @ own["qkv.weight"].T).chunk(3, -1))
    turn = torch.polar(torch.ones(()), n[:, None] * 1000.0 ** -(torch.arange(size // 2) / (size // 2)))
    q, k = (torch.complex(*part.chunk(2, -1)) * turn for part in (q, k))
    behind = n[:, None] - n
    decay = (1 - 2.0 ** -(5 + torch.arange(4.0)))[:, None, None] ** behind.clamp(min=0) * (behind >= 0)
    y = (q @ k.mH).real * size**-0.5 * decay @ v
    y = (y / y.square().mean(-1, keepdim=True).sqrt()).transpose(1, 2).flatten(2) * own["norm"]
    return (y * F.silu(x @ own["gate.weight"].T)) @ own["out.weight"].T


@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_a_block_of_retnet_is_its_formula(norm):
    """y = x + retention(norm(x)), then y + GLU(norm(y)): the formula that gives torchscale's output, within a whole block."""
    with np.load(Path(__file__).parent / "golden" / "retention-parallel.npz") as stored:
        own = {name[7:]: torch.from_numpy(a).float() for name, a in stored.items() if name[:7] == "weight."}
        x, y = (torch.from_numpy(stored[name]).float() for name in "xy")
    torch.testing.assert_close(retained(x, own), y, atol=2e-5, rtol=2e-5)
    torch.manual_seed(1)
    block = Block(16, mixer="retention", channel={"kind": "gated", "expansion": 2}, norm=norm, scale=1.0)
    block.mixer.load_state_dict(own)
    weights = [part.weight.copy_(1 + 0.3 * torch.randn(16)) for part in (block.mixer_norm, block.channel_norm)]
    plain = (lambda x: F.layer_norm(x, (16,))) if norm == "layer" else (lambda x: F.rms_norm(x, (16,), eps=1e-5))
    mixed = x + retained(plain(x) * weights[0], own)
    gate, up = (part.T for part in block.channel.up.weight.chunk(2))
    h = plain(mixed) * weights[1]
    y = mixed + (F.silu(h @ gate) * (h @ up)) @ block.channel.down.weight.T
    torch.testing.assert_close(block(x), y, atol=2e-5, rtol=2e-5)
