"""The scan and what is built on it, against loops in float64 and explicit matrices."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from mixcodec.nn.metaformer import Block
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.attention import rotate
from mixcodec.nn.mixers.heads import head_norm, split_heads
from mixcodec.nn.mixers.lmu import legendre
from mixcodec.nn.mixers.scan import LOWEST, both_ways, decay_matrix, fixed_scan, matrix_scan, scan

LENGTHS = [1, 2, 15, 16, 17, 65, 300]


def loop(log_decay, value, state):
    states = []
    for t in range(value.shape[1]):
        state = log_decay[:, t].exp() * state + value[:, t]
        states.append(state)
    return torch.stack(states, 1)


def close(a, b, digits=1e-4):
    torch.testing.assert_close(a.double(), b.double(), atol=digits, rtol=digits)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scan_is_the_loop(length, dtype):
    decay, value = -5 * torch.rand(2, length, 3, 1).double(), torch.randn(2, length, 3, 4).double()
    start = torch.randn(2, 3, 4).double()
    states, last = scan(decay.to(dtype), value.to(dtype), start.to(dtype))
    expected = loop(decay, value, start)
    close(states, expected, 1e-5 if dtype == torch.float32 else 1e-12)
    close(last, expected[:, -1], 1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rows", [1, 5])
def test_matrix_scan_is_the_loop_even_at_the_least_decay(length, rows):
    q, k, v = (torch.randn(2, length, 3, n).double() for n in (5, 5, 4))
    decay = torch.where(torch.rand(2, length, 3, rows) < 0.5, LOWEST, -0.1).double()
    start = torch.randn(2, 3, 5, 4).double()
    y, last = matrix_scan(*(x.float() for x in (q, k, v, decay, start)))
    states = loop(decay[..., None], k[..., None] * v[..., None, :], start)
    close(y, (q[..., None] * states).sum(-2))
    close(last, states[:, -1])


def test_gradients_of_the_matrix_scan_are_finite_at_the_least_decay():
    inputs = [torch.randn(1, 40, 1, 3) for _ in range(3)] + [torch.full((1, 40, 1, 3), LOWEST), torch.zeros(1, 1, 3, 3)]
    for x in inputs:
        x.requires_grad_()
    matrix_scan(*inputs)[0].square().sum().backward()
    assert all(x.grad.isfinite().all() for x in inputs)


@pytest.mark.parametrize("length", LENGTHS)
def test_fixed_scan_is_the_loop(length):
    matrix = 0.9 * torch.linalg.qr(torch.randn(4, 4).double())[0]
    value, state = torch.randn(2, length, 3, 4).double(), torch.randn(2, 3, 4).double()
    states, last = fixed_scan(matrix, value, state)
    for t in range(length):
        state = state @ matrix.T + value[:, t]
        close(states[:, t], state, 1e-11)
    close(last, state, 1e-11)


def test_decay_matrix_times_values_is_the_scan():
    decay, value = -torch.rand(1, 20, 3).double(), torch.randn(1, 20, 3).double()
    close(torch.einsum("btsd,bsd->btd", decay_matrix(decay), value), scan(decay, value, torch.zeros(1, 3))[0], 1e-12)


def build(config):
    torch.manual_seed(1)
    return MIXERS.build(config, channels=16).eval()


@torch.no_grad()
def test_retention_is_decayed_attention_of_rotated_queries():
    mixer, x = build("retention"), torch.randn(2, 40, 16)
    q, k, v = (split_heads(part, 4).transpose(1, 2) for part in mixer.qkv(x).chunk(3, -1))
    place = torch.arange(40)
    distance = (place[:, None] - place[None]).double()
    decay = (mixer.log_decay[:, None, None] * distance).exp() * (distance >= 0)
    scores = rotate(q, place).double() @ rotate(k, place).double().mT * decay / 2
    y = (scores @ v.double()).transpose(1, 2).float()
    close(mixer(x), mixer.out(head_norm(y, mixer.norm) * F.silu(mixer.gate(x))), 2e-5)
    assert (1 - 2.0**-5 - mixer.log_decay[0].exp()).abs() < 1e-6


@torch.no_grad()
def test_gla_is_its_matrix():
    mixer, x = build("gla"), torch.randn(2, 40, 16)
    q, k, v, decay = (part.double() for part in mixer.recurrence(x))
    matrix = torch.einsum("bthk,btshk,bshk->bhts", q, decay_matrix(decay), k)
    y = torch.einsum("bhts,bshv->bthv", matrix, v).float()
    close(mixer(x), mixer.out(head_norm(y, mixer.norm) * F.silu(mixer.gate(x))), 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 40, 130])
@pytest.mark.parametrize("rows", [False, True])
def test_a_scan_from_both_ends_is_a_loop_over_pairs(length, rows):
    q, k, v = (torch.randn(2, length, 3, size).double() for size in (4, 4, 5))
    decay = -torch.rand(2, length, 3, 4 if rows else 1).double()
    expected = torch.zeros_like(v)
    for t in range(length):
        for s in range(length):
            between = decay[:, s + 1 : t + 1] if s <= t else decay[:, t:s]
            weight = (q[:, t] * between.sum(1).exp() * k[:, s]).sum(-1, keepdim=True)
            expected[:, t] += weight * v[:, s]
    close(both_ways(q, k, v, decay), expected, 1e-10)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(40,), (5, 8)])
def test_retention_from_both_ends_decays_by_distance_in_reading_order(grid):
    mixer, x = build({"kind": "retention", "causal": False}), torch.randn(2, *grid, 16)
    q, k, v = (split_heads(part, 4).transpose(1, 2) for part in mixer.qkv(x.reshape(2, 40, 16)).chunk(3, -1))
    place = torch.arange(40)
    decay = (mixer.log_decay[:, None, None] * (place[:, None] - place[None]).abs().double()).exp()
    scores = rotate(q, place).double() @ rotate(k, place).double().mT * decay / 2
    y = (scores @ v.double()).transpose(1, 2).float()
    close(mixer(x), mixer.out(head_norm(y, mixer.norm).reshape(x.shape) * F.silu(mixer.gate(x))), 2e-5)


@torch.no_grad()
def test_retention_has_three_forms_that_agree():
    """The parallel, recurrent and chunkwise equations of Sun et al., written out in float64, and the mixer."""
    mixer, x, chunk = build("retention"), torch.randn(2, 40, 16), 8
    q, k, v = (split_heads(part.double(), 4).transpose(1, 2) for part in mixer.qkv(x).chunk(3, -1))  # (B, H, T, D)
    place = torch.arange(40)
    q, k = rotate(q, place) / 2, rotate(k, place)
    decay = (1 - 2.0 ** -(5 + torch.arange(4.0).double()))[:, None, None]
    behind = (place[:, None] - place[None]).double()
    mask = decay**behind * (behind >= 0)
    parallel = (q @ k.mT * mask) @ v
    memory, recurrent = torch.zeros(2, 4, 4, 4).double(), []
    for t in range(40):
        memory = decay * memory + k[:, :, t, :, None] * v[:, :, t, None]
        recurrent.append(q[:, :, t : t + 1] @ memory)
    memory, chunkwise = torch.zeros(2, 4, 4, 4).double(), []
    ahead = torch.arange(chunk)[:, None].double()
    for part in range(0, 40, chunk):
        one = slice(part, part + chunk)
        inner = (q[:, :, one] @ k[:, :, one].mT * mask[:, :chunk, :chunk]) @ v[:, :, one]
        chunkwise.append(inner + q[:, :, one] @ memory * decay ** (ahead + 1))
        memory = k[:, :, one].mT @ (v[:, :, one] * decay ** (chunk - 1 - ahead)) + decay**chunk * memory
    for y in (torch.cat(recurrent, 2), torch.cat(chunkwise, 2)):
        close(y, parallel, 1e-6)  # rotate takes its angles in float32
    y = parallel.transpose(1, 2).float()
    close(mixer(x), mixer.out(head_norm(y, mixer.norm) * F.silu(mixer.gate(x))), 2e-5)


def normed_weights(q, k, heads, causal, feature, left=1):
    """f(q) . f(k) of tokens (B, T, C), in float64, times what is left (B, H, T, T); each row sums to one."""
    q, k = (feature(split_heads(part.double(), heads)).transpose(1, 2) for part in (q, k))
    weights = q @ k.mT * left
    weights = weights.tril() if causal else weights
    return weights / weights.sum(-1, keepdim=True)


def mixed(weights, v):
    return (weights @ split_heads(v.double(), weights.shape[1]).transpose(1, 2)).transpose(1, 2).flatten(2)


def elu_plus_one(x):
    return torch.where(x > 0, x + 1, x.exp())


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_linear_attention_is_attention_with_positive_weights_that_sum_to_one(causal):
    mixer, x = build({"kind": "linear_attention", "causal": causal}), torch.randn(2, 40, 16)
    q, k, v = mixer.qkv(x).chunk(3, -1)
    close(mixer(x), mixer.out(mixed(normed_weights(q, k, 4, causal, elu_plus_one), v).float()), 2e-5)


@torch.no_grad()
@pytest.mark.parametrize(("causal", "rank"), [(True, 1), (False, 1), (False, 2)])
def test_simplified_linear_attention_adds_a_convolution_of_the_values(causal, rank):
    config = {"kind": "simplified_linear", "causal": causal, "rank": rank, "heads": 2}
    mixer, x = build(config), torch.randn(2, *[(40,), (5, 8)][rank - 1], 16)
    q, k, v = mixer.qkv(x).chunk(3, -1)
    weights = normed_weights(q.flatten(1, -2), k.flatten(1, -2), 2, causal, lambda x: x.relu() + 1e-3)
    far = mixed(weights, v.flatten(1, -2)).float().reshape(x.shape)
    dense = F.pad(v.movedim(-1, 1), [4, 0] if causal else [2] * 2 * rank)
    taps, bias = mixer.convolution.weight, mixer.convolution.bias
    near = (F.conv1d if rank == 1 else F.conv2d)(dense, taps, bias, groups=16).movedim(1, -1)
    close(mixer(x), mixer.out(far + near), 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_generalised_linear_attention_is_its_matrix_of_gated_weights(causal):
    mixer, x = build({"kind": "generalised_linear", "causal": causal}), torch.randn(2, 40, 16)

    def bent(part):
        return x + part.outer(F.leaky_relu(F.layer_norm(part.inner(x), (4,), part.norm.weight, part.norm.bias)))

    q, k = mixer.query(bent(mixer.bend_query)), mixer.key(bent(mixer.bend_key))
    left = torch.ones(2, 4, 40, 40).double()
    if causal:  # what the gates leave of s at t is their product from s + 1 to t
        gates = torch.sigmoid(mixer.forget(x).double()) ** (1 / 16)
        for t in range(40):
            for s in range(t):
                left[:, :, t, s] = gates[:, s + 1 : t + 1].prod(1)
    y = mixed(normed_weights(q, k, 4, causal, elu_plus_one, left), mixer.value(x))
    close(mixer(x), mixer.out(y.float()), 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear_attention", "generalised_linear"])
def test_repeating_every_token_does_not_change_linear_attention(kind):
    mixer, x = build({"kind": kind, "causal": False}), torch.randn(1, 12, 16)
    close(mixer(x.repeat_interleave(3, 1))[:, ::3], mixer(x), 1e-5)


@torch.no_grad()
def test_generalised_linear_attention_forgets_and_its_weights_still_sum_to_one():
    mixer, x = build({"kind": "generalised_linear"}), torch.randn(1, 40, 16)
    torch.nn.init.constant_(mixer.forget.bias, -100)  # every gate at its lowest, exp(-5)
    torch.nn.init.zeros_(mixer.forget.weight)
    near = x.clone()
    near[:, :38] = torch.randn(1, 38, 16)
    assert (mixer(x) - mixer(near))[0, -1].abs().max() < 1e-3 < (mixer(x) - mixer(near))[0, 30].abs().max()
    torch.nn.init.zeros_(mixer.value.weight)
    mixer.value.bias = torch.nn.Parameter(torch.ones(16))
    close(mixer(x), mixer.out(torch.ones(1, 40, 16)), 1e-5)


def test_legendre_memory_recalls_a_slow_signal():
    """The coefficients, weighed with shifted Legendre polynomials, give back the window (Voelker et al.)."""
    order, window = 8, 64
    a, b = legendre(order, window)
    signal = torch.sin(torch.arange(300.0).double() * 0.1)
    states, _ = fixed_scan(a, signal[None, :, None, None] * b, torch.zeros(1, 1, order).double())
    for back in (0, 16, 32, 63):
        at, polynomials = 2 * back / window - 1, [1.0, 2 * back / window - 1]
        for i in range(1, order - 1):
            polynomials.append(((2 * i + 1) * at * polynomials[i] - i * polynomials[i - 1]) / (i + 1))
        recalled = states[0, 100:, 0] @ torch.tensor(polynomials).double()
        assert (recalled - signal[100 - back : 300 - back]).abs().max() < 0.06  # half a token's slope


@torch.no_grad()
def test_lmu_is_a_convolution_with_its_impulse_response():
    mixer, x = build("lmu"), torch.randn(1, 70, 16)
    a, b = legendre(8, 32)
    u, memory, expected = mixer.up(x).double(), torch.zeros(16, 8).double(), []
    for t in range(70):
        memory = memory @ a.T + u[0, t, :, None] * b
        expected.append(memory.flatten())
    close(mixer(x)[0], mixer.recall(torch.stack(expected).float()) + mixer.skip(x[0]), 2e-5)


transformers = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
MAMBA = {"convolution.weight": "conv1d.weight", "convolution.bias": "conv1d.bias", "up.weight": "in_proj.weight"}
MAMBA |= {"down.weight": "out_proj.weight", "skip": "D", "log_rate": "A_log"}
MAMBA_1 = MAMBA | {"select.weight": "x_proj.weight", "pace.weight": "dt_proj.weight", "pace.bias": "dt_proj.bias"}
MAMBA_2 = MAMBA | {"norm": "norm.weight", "pace_bias": "dt_bias"}


def mamba(mixer, **sizes):
    """A block of transformers' with the weights of our block of that mixer: norm, mixer and residual, no channel mixer."""
    from transformers import Mamba2Config, MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaBlock
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Block

    kind, config, names = (MambaBlock, MambaConfig, MAMBA_1) if mixer == "ssm" else (Mamba2Block, Mamba2Config, MAMBA_2)
    torch.manual_seed(1)
    block = Block(16, {"kind": mixer, "states": 8}, "none", scale=1.0, norm="rms").eval()
    block.mixer_norm.weight.add_(0.1 * torch.randn(16))
    other = kind(config(hidden_size=16, state_size=8, num_hidden_layers=1, **sizes), 0).eval()
    other.mixer.load_state_dict({name: block.mixer.state_dict()[own] for own, name in names.items()})
    other.norm.load_state_dict(block.mixer_norm.state_dict())
    return block, other


@torch.no_grad()
@transformers
def test_ssm_is_mamba_and_its_block_is_mambas():
    block, other = mamba("ssm")
    x = torch.randn(2, 40, 16)
    close(block.mixer(x), other.mixer(x), 2e-5)
    close(block(x), other(x), 2e-5)


@torch.no_grad()
@transformers
def test_ssd_is_mamba_2_and_its_block_is_mamba_2s():
    sizes = {"num_heads": 4, "head_dim": 8, "n_groups": 1, "expand": 2, "chunk_size": 16}
    block, other = mamba("ssd", **sizes, layer_norm_epsilon=1e-6)
    other.norm.variance_epsilon = block.mixer_norm.eps  # a config has one for the norm of the block and that in the mixer
    x = torch.randn(2, 40, 16)
    close(block.mixer(x), other.mixer(x), 2e-5)
    close(block(x), other(x), 2e-5)
