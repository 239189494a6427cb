"""Pooling at several granularities, paths of high and low frequency, rafts and shuffles: against loops, by their spectra."""

import math

import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.metaformer import Stack
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.parts import Maximum


def build(config, channels=16):
    torch.manual_seed(1)
    return MIXERS.build(config, channels=channels).eval()


def close(a, b, digits=1e-5):
    torch.testing.assert_close(a, b, atol=digits, rtol=digits)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_each_of_the_poolings_is_its_loop(causal):
    mixer, x = build({"kind": "multi_pooling", "heads": 2, "segment": 4, "causal": causal}, 8), torch.randn(1, 14, 8)
    q, k, v = (part.reshape(14, 2, 4) for part in mixer.qkv(x)[0].chunk(3, -1))
    (far, near), token = mixer.pooled(x)[0].chunk(2, -1), mixer.token(x)[0]
    for t in range(14):
        end = t + 1 if causal else 14
        whole = torch.zeros(2, 4)
        for h in range(2):
            means = [q[: s + 1, h].mean(0) if causal else q[:, h].mean(0) for s in range(end)]
            weights = torch.stack([means[s] @ k[s, h] / 2 for s in range(end)]).softmax(0)
            whole[h] = weights @ v[:end, h]
        first = t // 4 * 4
        segment = far[first : t + 1 if causal else first + 4].amax(0)
        local = near[max(0, t - 2) : t + 1].amax(0) if causal else near[max(0, t - 1) : t + 2].amax(0)
        close(mixer(x)[0, t], (whole.flatten() + segment) * token[t] + local)


@torch.no_grad()
def test_segments_of_a_plane_are_squares():
    mixer, x = build({"kind": "multi_pooling", "segment": 3, "causal": False}, 8), torch.randn(1, 7, 8, 8) - 5
    for i in range(7):
        for j in range(8):
            a, b = i // 3 * 3, j // 3 * 3
            close(mixer.segments(x)[0, i, j], x[0, a : a + 3, b : b + 3].amax((0, 1)))


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_causal_maximum_is_of_what_has_been(size):
    part, x = Maximum(3, size), torch.randn(2, 9, 3) - 4  # below zero, which is no token
    y, _ = part.step(x, part.initial_state(2))
    for t in range(9):
        close(y[:, t], x[:, max(0, t - size + 1) : t + 1].amax(1))


@torch.no_grad()
def test_inception_is_its_paths():
    mixer, x = build({"kind": "inception", "causal": False, "low_first": 0.5}), torch.randn(1, 10, 16)
    largest, convolved, attended = x.split([4, 4, 8], -1)
    largest = F.gelu(mixer.raise_maximum(F.max_pool1d(largest.mT, 3, 1, 1).mT))
    raised = mixer.raise_convolution(convolved)
    convolved = F.gelu(F.conv1d(raised.mT, mixer.convolution.weight, padding=1, groups=8).mT)
    means = attended.reshape(1, 5, 2, 8).mean(2)
    q, k, v = (part.reshape(1, 5, 2, 4).transpose(1, 2) for part in mixer.attention.qkv(means).chunk(3, -1))
    means = mixer.attention.out((((q @ k.mT) / 2).softmax(-1) @ v).transpose(1, 2).reshape(1, 5, 8))
    y = torch.cat([largest, convolved, means.repeat_interleave(2, 1)], -1)
    y = y + F.conv1d(y.mT, mixer.fuse.weight, padding=1, groups=24).mT
    close(mixer(x), mixer.out(y))


def test_the_low_share_of_inception_grows_over_the_layers_of_a_stack():
    stage = {"depth": 3, "mixer": {"kind": "inception", "low_first": 0.25, "low_last": 0.75}, "channel": "mlp"}
    stack = Stack(3, 3, 32, [stage, stage | {"depth": 2}])
    assert [block.mixer.sizes[2] for block in stack.blocks] == [8, 12, 16, 20, 24]
    with pytest.raises(ConfigError, match="low_first <= low_last"):
        build({"kind": "inception", "low_first": 0.8, "low_last": 0.3})


def high_share(y):
    """Of the energy of y (B, T, C), without its mean, the share in the upper half of the spectrum."""
    power = torch.fft.rfft(y - y.mean(1, keepdim=True), dim=1).abs().square()
    return power[:, power.shape[1] // 2 :].sum() / power.sum()


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_the_attended_path_of_inception_is_lower_than_the_convolved(causal):
    """The path of maxima isn't higher before training: a maximum over white noise is smooth too."""
    mixer, x = build({"kind": "inception", "causal": causal, "low_first": 0.5}), torch.randn(4, 256, 16)
    seen = []
    mixer.fuse.step, keep = lambda y, state: seen.append(y) or keep(y, state), mixer.fuse.step
    mixer(x)
    assert high_share(seen[0][..., 16:]) < 0.5 * high_share(seen[0][..., 8:16])


@torch.no_grad()
def test_the_low_path_of_multi_frequency_is_lower_than_its_high_one():
    mixer, x = build({"kind": "multi_frequency", "causal": False}), torch.randn(4, 256, 16)
    seen = []
    mixer.out.register_forward_pre_hook(lambda part, args: seen.append(args[0]))
    mixer(x)
    assert high_share(seen[0][..., 16:]) < 0.5 * high_share(seen[0][..., :16])


@torch.no_grad()
def test_merging_the_branches_of_multi_frequency_and_of_edge_modulation_changes_nothing():
    x = torch.randn(2, 20, 16)
    for kind in ("multi_frequency", "edge_modulation"):
        mixer = build(kind)
        before, count = mixer(x), len(list(mixer.parameters()))
        mixer.convolution = mixer.convolution.merged()
        close(mixer(x), before)
        assert len(list(mixer.parameters())) < count


@torch.no_grad()
def test_edge_modulation_is_values_times_convolved_contexts():
    mixer, x = build({"kind": "edge_modulation", "kernel": 5, "causal": False, "rank": 2}), torch.randn(1, 6, 7, 16)
    context = F.gelu(mixer.context(x)).movedim(-1, 1)
    taps = mixer.convolution.taps()
    y = F.conv2d(context, taps, mixer.convolution.bias, padding=2, groups=16).movedim(1, -1)
    close(mixer(x), mixer.out(mixer.value(x) * y))


@torch.no_grad()
def test_raft_is_its_loop_and_has_the_parameters_of_its_formula():
    mixer, x = (
        build({"kind": "raft", "size": 4, "raft": 2, "expansion": 1.5, "causal": False, "rank": 2}, 6),
        torch.randn(1, 4, 4, 6),
    )
    perceptron = lambda part, numbers: part.outer(F.gelu(part.inner(numbers)))  # noqa: E731

    def along(part, x):
        """x (4, 4, 6) mixed along its first axis."""
        y = torch.zeros_like(x)
        for j in range(4):
            for c in range(3):
                together = [c, c + 3]  # a raft
                y[:, j, together] = perceptron(part, x[:, j, together].flatten()).reshape(4, 2)
        return y

    down = along(mixer.axes[0], x[0])
    across = along(mixer.axes[1], mixer.norms[0](x[0] + down).transpose(0, 1)).transpose(0, 1)
    close(mixer(x)[0], down + across)
    weights = sum(p.numel() for part in mixer.axes for p in part.parameters() if p.ndim == 2)
    assert weights == 2 * 2 * 1.5 * (2 * 4) ** 2
    assert weights < 2 * 16**2 * 3  # a perceptron over all 16 tokens with as much expansion would need more


@torch.no_grad()
def test_a_full_window_of_causal_raft_is_the_perceptron():
    mixer, x = build({"kind": "raft", "size": 5, "raft": 2}, 6), torch.randn(1, 9, 6)
    part = mixer.axes[0]
    for t in range(4, 9):
        for c in range(3):
            numbers = x[0, t - 4 : t + 1, [c, c + 3]].flatten()
            close(mixer(x)[0, t, [c, c + 3]], part.outer(F.gelu(part.inner(numbers))))


@torch.no_grad()
def test_raft_on_another_size_is_the_same_on_a_smooth_signal():
    mixer = build({"kind": "raft", "size": 16, "causal": False}, 4)
    signal = lambda n: torch.sin((torch.arange(n) + 0.5) / n * math.pi)[None, :, None].expand(1, n, 4)  # noqa: E731
    same = F.interpolate(mixer(signal(16)).mT, 48, mode="linear").mT
    close(mixer(signal(48)), same, 0.02)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(16,), (37,), (5, 6)])
def test_shuffling_and_back_is_the_identity_and_goes_everywhere(grid):
    mixer, x = build({"kind": "shuffle", "groups": 4}), torch.randn(2, *grid, 16).flatten(1, -2)
    shuffled = mixer.shuffle(x)
    assert shuffled.shape == (4, 2, x.shape[1], 4)
    assert torch.equal(mixer.unshuffle(shuffled), x)
    assert torch.equal(shuffled.flatten().sort().values, x.flatten().sort().values)
    assert torch.equal(shuffled, build({"kind": "shuffle", "groups": 4}).shuffle(x)), "the seed says which shuffle"
    assert not torch.equal(shuffled, build({"kind": "shuffle", "groups": 4, "seed": 1}).shuffle(x))
    place = torch.arange(x.shape[1] * 16.0).view(1, -1, 16)
    came_from = (mixer.shuffle(place) // 16)[0, 0]  # which token each number of the first group was of
    assert (came_from - torch.arange(x.shape[1])[:, None]).abs().mean() > x.shape[1] / 6


@torch.no_grad()
def test_shuffle_is_attention_within_windows_of_what_was_shuffled():
    mixer, x = build({"kind": "shuffle", "groups": 2, "window": 4}, 8), torch.randn(1, 10, 8)
    shuffled, mixed = mixer.shuffle(x), []
    for part, qkv, out in zip(shuffled, mixer.qkv, mixer.out, strict=True):
        q, k, v = qkv(part[0]).chunk(3, -1)
        y = torch.zeros(10, 4)
        for first in (0, 4, 8):
            window = slice(first, min(first + 4, 10))
            y[window] = ((q[window] @ k[window].T) / 2).softmax(-1) @ v[window]
        mixed.append(out(y)[None])
    close(mixer(x), mixer.unshuffle(torch.stack(mixed)))
