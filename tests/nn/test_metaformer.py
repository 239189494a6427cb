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


def test_a_stack_states_what_its_mixers_can():
    flat = Stack(3, 3, 8, [{"mixer": {"kind": "pooling", "causal": False}, "channel": "mlp"}])
    assert not flat.causal
    assert flat.grid_ranks == (1, 2, 3)
    assert flat(torch.randn(2, 4, 5, 3)).shape == (2, 4, 5, 3)
    assert Stack(3, 3, 8, [{"mixer": "pooling", "channel": "mlp"}]).causal


def test_an_unknown_option_of_a_stage_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'depth'"):
        Stack(3, 3, 8, [{"dept": 2, "mixer": "pooling", "channel": "mlp"}])
