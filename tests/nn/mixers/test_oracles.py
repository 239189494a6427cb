"""Mixers against timm's, and against their formulas written as loops."""

import importlib

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.ffn_attention import query_key_value
from mixcodec.nn.mixers.parts import Depthwise


def build(config, channels=16):
    torch.manual_seed(1)
    return MIXERS.build(config, channels=channels).eval()


def close(a, b, digits=1e-5):
    torch.testing.assert_close(a, b, atol=digits, rtol=digits)


def load(other, mixer, names):
    """Gives `other` the mixer's weights under its own names, in its own shapes."""
    own, shapes = mixer.state_dict(), other.state_dict()
    other.load_state_dict({name: own[names[name]].reshape(shapes[name].shape) for name in shapes})
    return other.eval()


@torch.no_grad()
def test_pooling_is_timms(timm_models):
    x = torch.randn(2, 7, 9, 16)
    other = timm_models("metaformer").Pooling(5)
    close(build({"kind": "pooling", "size": 5, "causal": False})(x), other(x.movedim(-1, 1)).movedim(1, -1))


@torch.no_grad()
def test_separable_is_timms(timm_models):
    mixer, x = build({"kind": "separable", "causal": False, "rank": 2}), torch.randn(2, 7, 9, 16)
    mixer.activation.scale.fill_(0.7)
    names = {"pwconv1.weight": "up.weight", "act1.scale": "activation.scale", "act1.bias": "activation.bias"}
    names |= {"dwconv.weight": "convolution.weight", "pwconv2.weight": "down.weight"}
    other = load(timm_models("metaformer").SepConv(16), mixer, names)
    close(mixer(x), other(x.movedim(-1, 1)).movedim(1, -1))


@torch.no_grad()
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_gated_convolution_is_timms(timm_models, share):
    mixer = build({"kind": "gated_convolution", "expansion": 2, "share": share, "causal": False, "rank": 2})
    x = torch.randn(2, 7, 9, 16)
    other = timm_models("mambaout").GatedConvBlock(16, expansion_ratio=2, conv_ratio=share)
    names = {"fc1": "up", "conv": "convolution", "fc2": "down"}
    names = {f"{theirs}.{end}": f"{own}.{end}" for theirs, own in names.items() for end in ("weight", "bias")}
    names |= {"norm.weight": "norm.weight", "norm.bias": "norm.bias"}
    mixer.norm = torch.nn.LayerNorm(16, eps=1e-6)
    other = load(other, mixer, names)
    other.norm = mixer.norm
    close(x + mixer(mixer.norm(x)), other(x))


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_outlook_is_timms(timm_models, stride):
    importlib.import_module("mixcodec.nn.mixers.outlook")
    mixer, x = build({"kind": "outlook", "heads": 4, "stride": stride, "rank": 2}), torch.randn(2, 7, 8, 16)
    names = {"v.weight": "value.weight", "attn.weight": "weights.weight", "attn.bias": "weights.bias"}
    names |= {"proj.weight": "out.weight", "proj.bias": "out.bias"}
    close(mixer(x), load(timm_models("volo").OutlookAttention(16, 4, stride=stride), mixer, names)(x))


@torch.no_grad()
def test_outlook_of_a_line_is_its_loop():
    importlib.import_module("mixcodec.nn.mixers.outlook")
    mixer, x = build({"kind": "outlook", "heads": 2}, 8), torch.randn(1, 9, 8)
    value, y = mixer.value(x)[0].reshape(9, 2, 4), torch.zeros(9, 2, 4)
    for centre in range(9):
        weights = (mixer.weights(x[0, centre]).reshape(2, 3, 3) / 2).softmax(-1)
        for i in range(3):
            for j in range(3):
                to, of = centre + i - 1, centre + j - 1
                if 0 <= to < 9 and 0 <= of < 9:
                    y[to] += weights[:, i, j, None] * value[of]
    close(mixer(x)[0], mixer.out(y.flatten(1)))


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"dilation": 3}, {"delay": 4}, {"dilation": 2, "delay": 1}], ids=str)
def test_causal_depthwise_is_its_loop(options):
    part, x = Depthwise(4, 3, bias=True, **options), torch.randn(1, 20, 4)
    y = part.step(x, part.initial_state(1))[0]
    for t in range(20):
        expected = part.bias.clone()
        for i in range(3):
            of = t - (2 - i) * part.dilation - part.delay
            expected = expected + (part.weight[:, 0, i] * x[0, of] if of >= 0 else 0)
        close(y[0, t], expected)


@torch.no_grad()
def test_centred_convolution_is_scipys():
    mixer, x = build({"kind": "convolution", "kernel": 5, "causal": False, "rank": 2}), torch.randn(1, 7, 9, 16)
    for c in range(16):
        expected = scipy.ndimage.correlate(x[0, ..., c].numpy(), mixer.weight[c, 0].numpy(), mode="constant")
        close(mixer(x)[0, ..., c], torch.from_numpy(expected) + mixer.bias[c])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["convolution", "conformer", "fsmn", "separable"])
def test_kernels_of_a_plane_that_are_zero_but_in_one_row_mix_each_row_alone(kind):
    line, plane = (
        build({"kind": kind, "kernel": 5, "causal": False}),
        build({"kind": kind, "kernel": 5, "causal": False, "rank": 2}),
    )
    weights = line.state_dict()
    for name, of_plane in plane.state_dict().items():
        if of_plane.ndim == 4:
            weights[name] = torch.zeros_like(of_plane)
            weights[name][:, :, 2] = line.state_dict()[name]
    plane.load_state_dict(weights)
    x = torch.randn(2, 6, 11, 16)
    close(plane(x), torch.stack([line(row) for row in x.unbind(1)], 1))


@torch.no_grad()
def test_focal_is_its_loop():
    mixer, x = build({"kind": "focal", "levels": 2, "kernel": 3}, 8), torch.randn(1, 12, 8)
    query, context, gates = mixer.enter(x[0]).split([8, 8, 3], -1)
    total = torch.zeros(12, 8)
    for i, level in enumerate(mixer.levels):
        taps = 3 + 2 * i
        context = torch.stack(
            [
                F.gelu(sum(level.weight[:, 0, taps - 1 - back] * context[t - back] for back in range(min(taps, t + 1))))
                for t in range(12)
            ]
        )
        total += context * gates[:, i, None]
    mean = torch.stack([context[: t + 1].mean(0) for t in range(12)])
    total += F.gelu(mean) * gates[:, 2, None]
    close(mixer(x)[0], mixer.out(query * mixer.modulator(total)))


@torch.no_grad()
def test_mixer_mlp_is_its_formula():
    x = torch.randn(2, 6, 8)
    mixer = build({"kind": "mixer_mlp", "size": 6, "causal": False}, 8)
    tokens = lambda m, x: m.tokens.outer(F.gelu(m.tokens.inner(x.mT))).mT  # noqa: E731
    y = tokens(mixer, x)
    close(mixer(x), y * mixer.gate(y).softmax(-1) * 8)
    causal = build({"kind": "mixer_mlp", "size": 6, "gate": False}, 8)
    close(causal(x)[:, -1:], tokens(causal, x))  # a window that is full: the perceptron itself


def normed(x, weight, bias):
    """Each row of x (.., C), less its mean, divided by its deviation."""
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def erf_gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_the_gate_of_nin_gating_is_a_block_of_mlp_mixer(causal):
    mixer, x = build({"kind": "nin_gating", "size": 6, "hidden": 5, "expansion": 1.5, "causal": causal}, 8), torch.randn(1, 6, 8)
    for tensor in mixer.parameters():
        tensor.add_(0.3 * torch.randn(tensor.shape))
    own = mixer.state_dict()
    part = lambda name: (own[f"{name}.weight"], own[f"{name}.bias"])  # noqa: E731
    (inner, inner_bias), (outer, outer_bias), (up, up_bias) = part("tokens.inner"), part("tokens.outer"), part("channels.up")
    (down, down_bias), (weight, bias) = part("channels.down"), part("linear_map")
    assert up.shape == (12, 8)
    rows = normed(x[0], *part("norm"))
    for t in range(6):
        window, row = rows, t
        if causal:  # of what has been, zeros before it, to the last row alone
            window, row = torch.cat([torch.zeros(5 - t, 8), rows[: t + 1]]), 0
        token = torch.stack([outer[row] @ erf_gelu(inner @ window[:, c] + inner_bias) + outer_bias[row] for c in range(8)])
        u = x[0, t] + token
        gate = u + down @ erf_gelu(up @ normed(u, *part("channel_norm")) + up_bias) + down_bias
        close(mixer(x)[0, t], (weight @ x[0, t] + bias) * gate)


def test_without_a_gate_even_weights_change_nothing():
    mixer, x = build({"kind": "mixer_mlp"}, 8), torch.randn(1, 9, 8)
    torch.nn.init.zeros_(mixer.gate.weight)
    torch.nn.init.zeros_(mixer.gate.bias)
    y = mixer(x)
    mixer.gate = None
    close(y, mixer(x))


@torch.no_grad()
def test_very_wide_gaussians_are_plain_attention_and_ones_are_too():
    plain, x = build({"kind": "attention", "window": 5}), torch.randn(2, 20, 16)
    for options in ({"mask": "gaussian"}, {"mask": "elementwise"}):
        mixer = build({"kind": "decay_attention", "window": 5} | options)
        assert not mixer.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
        if "log_width" in dict(mixer.named_parameters()):
            assert not torch.allclose(mixer(x), plain(x), atol=1e-2)
            mixer.log_width.fill_(10)
            assert mixer.height.numel() + mixer.log_width.numel() == 4 * 2 * 2  # two numbers each of two bells a head
        close(mixer(x), plain(x))


@torch.no_grad()
@pytest.mark.parametrize("together", [256, 5])
def test_decay_on_a_plane_goes_by_euclidean_distance(together, monkeypatch):
    monkeypatch.setattr("mixcodec.nn.mixers.decay_attention.TOGETHER", together)
    mixer, x = build({"kind": "decay_attention", "causal": False, "rank": 2}), torch.randn(1, 3, 4, 16)
    q, k, v = (part.reshape(12, 4, 4) for part in mixer.qkv(x).chunk(3, -1))
    y = torch.zeros(12, 4, 4)
    for t in range(12):
        for h in range(4):
            weights = torch.stack([q[t, h] @ k[s, h] / 2 for s in range(12)]).softmax(0)
            for s in range(12):
                square = (t // 4 - s // 4) ** 2 + (t % 4 - s % 4) ** 2
                bells = mixer.height[h] * torch.exp(-square / (2 * mixer.log_width[h].exp() ** 2))
                y[t, h] += weights[s] * bells.sum() * v[s, h]
    close(mixer(x).reshape(12, 16), mixer.out(y.flatten(1)))


@torch.no_grad()
def test_the_query_key_value_frame_with_softmax_is_attention():
    q, k, v = (torch.randn(2, 7, 4) for _ in range(3))
    y = query_key_value(q, lambda q: q @ k.mT / 2, lambda a: a.softmax(-1), lambda a: a @ v)
    close(y, F.scaled_dot_product_attention(q, k, v))


def reach(mixer, length, at, channels, output):
    """How far behind `at` each input token lies that output channel(s) see."""
    x = torch.randn(1, length, channels, requires_grad=True)
    mixer(x)[0, at, output].sum().backward()
    return [at - t for t in x.grad[0].abs().sum(-1).nonzero().flatten().tolist()]


def test_shift_sees_what_its_table_says_and_shifting_loses_nothing():
    mixer = build({"kind": "shift", "groups": 4, "stride": 5, "kernel": 2}, 8)
    for i in range(4):
        assert sorted(reach(mixer, 40, 30, 8, [2 * i])) == list(range(5 * i, 5 * i + 2 + 2 * i))
    x = torch.randn(1, 12, 8)
    mixer = build({"kind": "shift", "kernel": 1, "causal": False}, 8)
    for group in mixer.groups:
        torch.nn.init.dirac_(group.weight, groups=group.groups)
    back = [part.roll(-by, 1) for part, by in zip(mixer(x).chunk(4, -1), mixer.offsets, strict=True)]
    close(torch.cat(back, -1), x)


@torch.no_grad()
def test_shift_of_a_plane_moves_every_group_along_both_axes():
    config = {"kind": "shift", "groups": 3, "stride": 2, "kernel": 1, "causal": False, "rank": 2}
    mixer, x, (rows, columns) = build(config, 6), torch.randn(1, 5, 7, 6), (5, 7)
    own = {name: tensor + torch.randn(tensor.shape) for name, tensor in mixer.state_dict().items()}
    mixer.load_state_dict(own)
    expected = torch.zeros(rows, columns, 6)
    for axis in (0, 1):
        for c in range(6):
            group, by = c // 2, (c // 2 - 1) * 2
            weight, bias = (own[f"groups.{3 * axis + group}.{name}"][c % 2] for name in ("weight", "bias"))
            reach = abs(by) // 2  # (1 + 2 * reach)^2 taps
            for i in range(rows):
                for j in range(columns):
                    expected[i, j, c] += bias
                    for di in range(-reach, reach + 1):
                        for dj in range(-reach, reach + 1):
                            a, b = i + di, j + dj
                            if 0 <= a < rows and 0 <= b < columns:  # zeros around what was moved around the end
                                a, b = ((a - by) % rows, b) if axis == 0 else (a, (b - by) % columns)
                                expected[i, j, c] += weight[0, reach + di, reach + dj] * x[0, a, b, c]
    close(mixer(x)[0], expected)


def test_each_head_of_mixed_convolution_has_its_own_reach():
    mixer = build({"kind": "mixed_convolution", "heads": 4}, 8)
    for i, head in enumerate(mixer.heads):
        x = torch.randn(1, 20, 2, requires_grad=True)
        head.step(x, head.initial_state(1))[0][0, 15].sum().backward()
        assert len(x.grad[0].abs().sum(-1).nonzero()) == 3 + 2 * i
    assert mixer.groups.shape == (2, 4, 8)  # a group has one channel of each head


@torch.no_grad()
def test_channels_that_are_not_convolved_pass_unchanged():
    mixer = build({"kind": "gated_convolution", "share": 0.25, "kernel": 5})
    still = mixer.sizes[1]
    mixer.convolution.weight.zero_()
    mixer.convolution.bias.zero_()
    x = torch.randn(1, 9, 16)
    gate, value = mixer.up(x).split([mixer.sizes[0], sum(mixer.sizes[1:])], -1)
    value[..., still:] = 0
    close(mixer(x), mixer.down(F.gelu(gate) * value))
    assert mixer.sizes[2] == 4


def test_additive_makes_no_matrix_of_tokens():
    """No tensor in it has two axes of the length of the signal."""
    mixer, shapes = build("additive"), []

    def see(part, args, output):
        shapes.extend(t.shape for t in (output if isinstance(output, tuple) else (output,)) if isinstance(t, torch.Tensor))

    for part in mixer.modules():
        part.register_forward_hook(see)
    mixer(torch.randn(1, 97, 16))
    assert shapes
    assert all(list(shape).count(97) <= 1 for shape in shapes)


def test_the_random_matrix_learns_nothing():
    assert not list(build("random").parameters())


@torch.no_grad()
def test_causal_random_takes_its_rows_in_turn():
    mixer, x = build({"kind": "random", "size": 4}, 3), torch.randn(1, 11, 3)
    for t in range(11):
        expected = sum(mixer.matrix[t % 4, i] * x[0, t - 3 + i] for i in range(4) if t - 3 + i >= 0)
        close(mixer(x)[0, t], expected)
