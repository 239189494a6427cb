"""The recipes of published stages: what is in them, and that they stream."""

from pathlib import Path

import pytest
import torch
import yaml

from mixcodec.nn.codec import CodecNet
from mixcodec.nn.metaformer import Stack

CONFIGS = Path(__file__).parents[2] / "configs"
BLOCKS = {
    "stages/poolformer": [("pooling", "mlp")] * 5,
    "stages/convformer": [("separable", "star_mlp")] * 5,
    "stages/caformer": [("separable", "star_mlp")] * 3 + [("attention", "star_mlp")] * 2,
    "stages/iformer": [("inception", "mlp")] * 5,
    "stages/conformer": [("attention", "mlp"), ("conformer", "mlp")] * 3,
    "stages/mambaout": [("gated_convolution", "none")] * 7,
    "stages/shipped": [("convolution", "mlp")] * 4 + [("attention", "mlp")],
    "speech-16k": [("convolution", "mlp")] * 4 + [("attention", "mlp")],
}


def codec(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["codec"]


def kind(part):
    return part if isinstance(part, str) else part["kind"]


def test_every_recipe_of_stages_is_here():
    assert {f"stages/{path.stem}" for path in (CONFIGS / "stages").glob("*.yaml")} == {n for n in BLOCKS if "/" in n}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_blocks_are_those_of_the_paper(name):
    for side in ("encoder", "decoder"):
        stages = codec(name)[side]["stages"]
        assert [(kind(s["mixer"]), kind(s["channel"])) for s in stages for _ in range(s.get("depth", 1))] == BLOCKS[name]
        scaled = sum(s.get("depth", 1) for s in stages if s.get("residual"))
        assert scaled == (2 if name in ("stages/convformer", "stages/caformer") else 0)


@torch.no_grad()
@pytest.mark.parametrize("name", BLOCKS)
def test_the_stages_stream(name):
    torch.manual_seed(0)
    stack = Stack(8, 8, 48, codec(name)["decoder"]["stages"]).eval()
    x = torch.randn(1, 20, 8)
    state, parts = stack.initial_state(1), []
    for part in x.split(7, 1):
        y, state = stack.step(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), stack(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_the_shipped_stages_are_those_of_the_recipe(side):
    assert codec("stages/shipped")[side] == codec("speech-16k")[side]


def test_the_low_share_of_iformer_grows_over_its_blocks():
    net = CodecNet(codec("stages/iformer"))
    for stack in (net.encoder, net.decoder):
        low = [block.mixer.sizes[2] / sum(block.mixer.sizes) for block in stack.blocks]
        assert low == pytest.approx([0.25, 0.375, 0.5, 0.625, 0.75], abs=0.02)
