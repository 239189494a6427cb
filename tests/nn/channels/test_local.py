"""Channel mixers that see a token's neighbours: laws of streaming, and their formulas."""

import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.metaformer import Block, Stack
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.branches import Edges, GroupBranches
from mixcodec.testing.mixers import exported_steps_are_steps

LOCAL = [{"kind": "conv_glu"}, {"kind": "conv_glu", "kernel": 4}, {"kind": "edge_mlp"}, {"kind": "edge_mlp", "kernel": 5}]


def build(config, channels=8):
    torch.manual_seed(1)
    return CHANNELS.build(config, channels=channels)


def stream(part, x, cuts):
    state, parts = part.initial_state(len(x)), []
    for piece in torch.tensor_split(x, sorted(cuts), dim=1):
        y, state = part.step(piece, state)
        parts.append(y)
    return torch.cat(parts, 1)


def test_these_are_all_that_have_a_state():
    assert {config["kind"] for config in LOCAL} == {kind for kind in CHANNELS.kinds() if build(kind).initial_state(1)}


@torch.no_grad()
@pytest.mark.parametrize("config", LOCAL, ids=str)
@pytest.mark.parametrize("cuts", [[1], [5, 6], range(1, 12)], ids=str)
def test_forward_is_step_in_any_chunks_and_sees_no_later_token(config, cuts):
    part, x = build(config), torch.randn(2, 12, 8)
    torch.testing.assert_close(stream(part, x, cuts), part(x), atol=1e-5, rtol=1e-5)
    changed = x.clone()
    changed[:, 7:] += 1
    torch.testing.assert_close(part(changed)[:, :7], part(x)[:, :7])
    assert (part(changed)[:, 7:] - part(x)[:, 7:]).abs().max() > 1e-3


@pytest.mark.parametrize("config", LOCAL, ids=str)
@pytest.mark.parametrize("rank", [1, 2])
def test_the_centred_form_sees_both_sides_learns_and_does_not_stream(config, rank):
    if config.get("kernel", 3) % 2 == 0:
        with pytest.raises(ConfigError, match="channel mixer 'conv_glu': kernel must be odd"):
            build(config | {"causal": False})
        return
    part, x = build(config | {"causal": False, "rank": rank}), torch.randn(2, *[5, 6][:rank], 8, requires_grad=True)
    y = part(x)
    assert y.shape == x.shape
    (y * torch.randn_like(y)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in part.parameters())
    x.grad = None
    part(x)[(0, *[2] * rank)].sum().backward()
    assert x.grad[(0, *[1] * rank)].any()
    assert x.grad[(0, *[3] * rank)].any()
    assert not x.grad[1].any()
    with pytest.raises(ConfigError, match="not causal"):
        part.initial_state(1)
    with pytest.raises(ConfigError, match="not causal"):
        part.step(x, {})


@torch.no_grad()
def test_conv_glu_is_its_formula():
    part, x = build({"kind": "conv_glu", "expansion": 2, "causal": False, "rank": 2}), torch.randn(1, 5, 6, 8)
    gate, value = (x @ part.up.weight.T + part.up.bias).chunk(2, -1)
    padded = F.pad(gate, [0, 0, 1, 1, 1, 1])
    for i in range(5):
        for j in range(6):
            near = torch.einsum("hwc,chw->c", padded[0, i : i + 3, j : j + 3], part.convolution.weight[:, 0])
            expected = part.down(F.gelu(near + part.convolution.bias) * value[0, i, j])
            torch.testing.assert_close(part(x)[0, i, j], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel", [3, 7])
def test_the_kernel_of_an_edge_convolution_on_a_line_is_the_sum_of_its_branches(causal, kernel):
    part, x = Edges(4, kernel, causal), torch.randn(2, 15, 4)
    dense = F.pad(x, [0, 0, 2, 0] if causal else [0, 0, 1, 1])
    past, now, after = dense[:, :-2], dense[:, 1:-1], dense[:, 2:]
    own = F.conv1d(F.pad(x.mT, [kernel - 1, 0] if causal else [kernel // 2] * 2), part.weight, part.bias, groups=4).mT
    small = torch.stack([past, now, after], -1) * part.small[:, 0]
    differences = part.scales[:, 0] * (past - after) + part.scales[:, 1] * (past - 2 * now + after)
    expected = own + small.sum(-1) + differences
    y, _ = part.step(x, part.initial_state(2))
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    merged = part.merged()
    assert len(list(merged.parameters())) == 2
    torch.testing.assert_close(merged.step(x, part.initial_state(2))[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_edges_of_a_plane_are_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    part, x = Edges(3, 5, False, 2), torch.randn(1, 8, 9, 3)
    part.weight.zero_()
    part.small.zero_()
    filters = (
        lambda a: -ndimage.sobel(a, 1, mode="constant"),
        lambda a: -ndimage.sobel(a, 0, mode="constant"),
        lambda a: ndimage.laplace(a, mode="constant"),
    )
    part.scales.copy_(torch.eye(3))  # one filter for each channel
    for i, filtered in enumerate(filters):
        expected = torch.from_numpy(filtered(x[0, ..., i].numpy()))
        torch.testing.assert_close(part.step(x, {})[0][0, ..., i], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("causal", "rank"), [(True, 1), (False, 1), (False, 2)])
def test_grouped_branches_are_one_kernel(causal, rank):
    part, x = GroupBranches(6, 3, 2, causal, rank), torch.randn(2, *[7, 8][:rank], 6)
    part.scale.normal_()
    point = torch.stack([x[..., :3] @ part.point[:3].T, x[..., 3:] @ part.point[3:].T], -2).flatten(-2)
    plain = part.merged()
    plain.weight.copy_(part.weight)
    expected = plain.step(x, plain.initial_state(2))[0] + point + part.scale * x
    for same in (part, part.merged()):
        torch.testing.assert_close(same.step(x, same.initial_state(2))[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["conv_glu", "edge_mlp"])
def test_a_stack_with_one_streams_and_keeps_its_state_beside_the_mixers(kind):
    stack = Stack(3, 5, 8, [{"depth": 2, "mixer": "identity", "channel": kind}, {"mixer": "convolution", "channel": kind}])
    assert stack.causal
    assert list(stack.initial_state(1)) == ["0.channel.past", "1.channel.past", "2.past", "2.channel.past"]
    x = torch.randn(2, 9, 3)
    torch.testing.assert_close(stream(stack, x, [1, 2, 6]), stack(x), atol=1e-5, rtol=1e-5)
    first, _ = stack.step(x[:, :5], stack.initial_state(2))
    second, _ = stack.step(x[:, 5:], stack.initial_state(2))
    assert not torch.allclose(torch.cat([first, second], 1), stack(x), atol=1e-3), "the state matters"


def test_a_stack_is_only_as_causal_as_its_channel_mixers():
    flat = Stack(3, 3, 8, [{"mixer": "pooling", "channel": {"kind": "conv_glu", "causal": False}}])
    assert not flat.causal
    assert flat.grid_ranks == (1,)


def test_no_mixers_state_has_the_name_under_which_a_blocks_channel_mixer_keeps_its_own():
    for kind in MIXERS.kinds():
        mixer = MIXERS.build(kind, channels=16)
        if mixer.causal:
            assert not any(name.startswith("channel.") for name in mixer.initial_state(1))


def test_a_block_without_such_a_channel_mixer_has_the_mixers_state_alone():
    assert list(Block(8, "convolution", "mlp").initial_state(1)) == ["past"]


def test_a_bottleneck_refuses_one():
    with pytest.raises(ConfigError, match="sees neighbours"):
        build({"kind": "bottleneck", "channel": "conv_glu"})


def test_the_exported_step_of_blocks_with_them_is_the_step():
    blocks = [Block(16, "identity", kind) for kind in ("conv_glu", "edge_mlp", "experts")]
    exported_steps_are_steps([block.eval() for block in (*blocks, Block(16, "convolution", "conv_glu"))], 16)
