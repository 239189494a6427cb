import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.metaformer import Block, Stack
from mixcodec.nn.mixers import MIXERS


@pytest.mark.parametrize("mixer", MIXERS.kinds())
@pytest.mark.parametrize("channel", CHANNELS.kinds())
def test_any_mixer_goes_with_any_channel_mixer(mixer, channel):
    stack = Stack(3, 5, 16, [{"depth": 2, "mixer": mixer, "channel": channel}])
    x = torch.randn(2, 7, 3)
    y = stack(x)
    assert y.shape == (2, 7, 5)
    if not stack.causal:
        return
    first, state = stack.step(x[:, :3], stack.initial_state(2))
    second, _ = stack.step(x[:, 3:], state)
    assert torch.allclose(torch.cat([first, second], 1), y, atol=1e-5)


def test_a_block_is_its_formula():
    block = Block(16, "convolution", "mlp")
    x = torch.randn(1, 6, 16)
    middle = x + block.mixer_scale * block.mixer(block.mixer_norm(x))
    assert torch.equal(block(x), middle + block.channel_scale * block.channel(block.channel_norm(middle)))


@torch.no_grad()
def test_residual_scales_and_the_other_norms_are_options_of_a_stage():
    stack = Stack(3, 3, 8, [{"mixer": "convolution", "channel": "mlp"} | {"norm": "rms", "residual": True}])
    (block,), x = stack.blocks, torch.randn(2, 6, 8)
    for scale in (block.mixer_residual, block.channel_residual):
        assert scale.eq(1).all()
        scale.uniform_(0.5, 2)
    norm = lambda x, weight: x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight  # noqa: E731
    middle = block.mixer_residual * x + block.mixer_scale * block.mixer(norm(x, block.mixer_norm.weight))
    y = block.channel_residual * middle + block.channel_scale * block.channel(norm(middle, block.channel_norm.weight))
    torch.testing.assert_close(block(x), y)
    torch.testing.assert_close(block.step(x, block.initial_state(2))[0], y)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(7,), (3, 4)])
def test_the_norm_of_the_grid_is_that_of_all_its_numbers(grid):
    block = Block(8, {"kind": "pooling", "causal": False}, "mlp", norm="grid")
    x = torch.randn(2, *grid, 8)
    for item, normed in zip(x, block.mixer_norm(x), strict=True):
        torch.testing.assert_close(normed, (item - item.mean()) / (item.var(correction=0) + 1e-5).sqrt())


def test_a_norm_or_residual_that_makes_no_sense_is_an_error():
    with pytest.raises(ConfigError, match="no norm 'laier': did you mean 'layer'"):
        Block(8, "pooling", "mlp", norm="laier")
    with pytest.raises(ConfigError, match="'grid', which sees the whole signal, but its mixer is causal"):
        Block(8, "pooling", "mlp", norm="grid")
    with pytest.raises(ConfigError, match="residual is 'yes', but must be true or false"):
        Block(8, "pooling", "mlp", residual="yes")


def test_a_stack_states_what_its_mixers_can():
    flat = Stack(3, 3, 8, [{"mixer": {"kind": "pooling", "causal": False}, "channel": "mlp"}])
    assert not flat.causal
    assert flat.grid_ranks == (1, 2, 3)
    assert flat(torch.randn(2, 4, 5, 3)).shape == (2, 4, 5, 3)
    assert Stack(3, 3, 8, [{"mixer": "pooling", "channel": "mlp"}]).causal


def test_an_unknown_option_of_a_stage_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        Stack(3, 3, 8, [{"dept": 2, "mixer": "pooling", "channel": "mlp"}])


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (None, "stages is None, but must be a list"),
        ("pooling", "stages is 'pooling', but must be a list"),
        ({"mixer": "pooling", "channel": "mlp"}, "stages is .* but must be a list"),
        ([{"mixer": "pooling", "channel": "mlp", 3: 2}], "a stage has no option 3: known: "),
        ([{"mixer": {"kind": "pooling", 3: 2}, "channel": "mlp"}], "mixer 'pooling' has no option 3: known: "),
        ([{"mixer": "pooling", "channel": {"kind": "mlp", 3: 2}}], "channel mixer 'mlp' has no option 3: known: "),
        ([{"mixer": {"kind": "inception", "layer": 0}, "channel": "mlp"}], "'inception': layer is not an option here"),
        ([{"mixer": "pooling", "channel": {"kind": "mlp", "channels": 8}}], "'mlp': channels is not an option here"),
    ],
)
def test_stages_that_make_no_sense_are_an_error_in_one_line(stages, told):
    with pytest.raises(ConfigError, match=told) as error:
        Stack(3, 3, 8, stages)
    assert "\n" not in str(error.value)
