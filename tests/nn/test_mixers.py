"""One set of laws over every registered mixer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS

CHANNELS = 16
CASES = [{"kind": kind} for kind in MIXERS.kinds()] + [
    {"kind": "pooling", "causal": False},
    {"kind": "pooling", "size": 4},
    {"kind": "convolution", "kernel": 2},
    {"kind": "attention", "heads": 2, "window": 3},
]


def build(config):
    torch.manual_seed(1)
    return MIXERS.build(config, channels=CHANNELS).eval()


def stream(mixer, x, cuts):
    state, parts = mixer.initial_state(len(x)), []
    for part in torch.tensor_split(x, sorted(cuts), dim=1):
        if part.shape[1]:
            y, state = mixer.step(part, state)
            parts.append(y)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("config", CASES, ids=str)
def test_keeps_the_shape_on_every_grid_it_serves(config):
    mixer = build(config)
    assert mixer.grid_ranks
    for rank in mixer.grid_ranks:
        x = torch.randn(2, *[5, 6, 7][:rank], CHANNELS)
        assert mixer(x).shape == x.shape


@pytest.mark.parametrize("config", [c for c in CASES if build(c).causal], ids=str)
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 23), max_size=6))
def test_streaming_equals_offline(config, cuts):
    mixer = build(config)
    x = torch.randn(2, 23, CHANNELS, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.allclose(stream(mixer, x, cuts), mixer(x), atol=1e-5)


@pytest.mark.parametrize("config", [c for c in CASES if build(c).causal], ids=str)
def test_a_causal_mixer_sees_no_later_token(config):
    mixer = build(config)
    x = torch.randn(1, 12, CHANNELS)
    changed = x.clone()
    changed[:, 7:] += 1
    with torch.no_grad():
        before, after = mixer(x), mixer(changed)
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


@pytest.mark.parametrize("config", [c for c in CASES if build(c).causal], ids=str)
def test_state_is_named_tensors_batch_first_and_keeps_its_shape(config):
    mixer = build(config)
    state = mixer.initial_state(3)
    _, after = mixer.step(torch.randn(3, 2, CHANNELS), state)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in after.items()}
    assert all(len(v) == 3 and not v.any() for v in state.values())


def test_one_that_is_not_causal_refuses_to_stream():
    with pytest.raises(ConfigError, match="not causal"):
        build({"kind": "pooling", "causal": False}).initial_state(1)


@pytest.mark.parametrize("causal", [True, False])
def test_pooling_has_no_parameters_and_maps_constants_to_zero(causal):
    mixer = build({"kind": "pooling", "causal": causal})
    assert not list(mixer.parameters())
    assert torch.allclose(mixer(torch.full((2, 9, CHANNELS), 3.5)), torch.zeros(2, 9, CHANNELS), atol=1e-6)


def test_pooling_is_the_mean_of_the_past_less_the_token():
    x = torch.randn(1, 8, CHANNELS)
    expected = torch.stack([x[:, max(0, t - 2) : t + 1].mean(1) - x[:, t] for t in range(8)], 1)
    assert torch.allclose(build("pooling")(x), expected, atol=1e-6)


def test_convolution_is_numpys():
    mixer = build({"kind": "convolution", "kernel": 5})
    x = torch.randn(1, 11, CHANNELS)
    y = mixer(x).detach().numpy()
    for c in range(CHANNELS):
        expected = np.convolve(x[0, :, c].numpy(), mixer.weight[c, 0].detach().numpy()[::-1])[:11] + mixer.bias[c].item()
        np.testing.assert_allclose(y[0, :, c], expected, atol=1e-5)


def test_attention_is_the_softmax_of_rotated_products_over_its_window():
    """Against a loop in numpy with complex numbers as rotations."""
    mixer = build({"kind": "attention", "heads": 2, "window": 3})
    x = torch.randn(1, 9, CHANNELS)
    y = mixer(x)[0].detach().numpy()
    q, k, v = (part.detach().numpy().reshape(9, 2, 8) for part in mixer.qkv(x)[0].chunk(3, -1))
    speed = 1000.0 ** -(np.arange(4) / 4)
    expected = np.zeros((9, 2, 8))
    for t in range(9):
        for h in range(2):
            seen = range(max(0, t - 3), t + 1)
            as_complex = lambda a: a[:4] + 1j * a[4:]  # noqa: E731
            scores = [
                (as_complex(q[t, h]) * np.conj(as_complex(k[s, h])) * np.exp(1j * speed * (t - s))).real.sum() / 8**0.5
                for s in seen
            ]
            weights = np.exp(scores) / np.exp(scores).sum()
            expected[t, h] = sum(w * v[s, h] for w, s in zip(weights, seen, strict=True))
    np.testing.assert_allclose(y, expected.reshape(9, 16) @ mixer.out.weight.detach().numpy().T, atol=1e-5)


@pytest.mark.parametrize("grid", [(2,), (9,), (2, 9), (7, 9), (2, 5, 6), (4, 5, 6)], ids=str)
def test_centred_pooling_counts_only_places_inside_even_of_a_grid_narrower_than_its_window(grid):
    x = torch.randn(1, *grid, 3)
    y = MIXERS.build({"kind": "pooling", "causal": False, "size": 5}, channels=3)(x)
    for at in np.ndindex(*grid):
        around = tuple(slice(max(0, i - 2), i + 3) for i in at)
        mean = x[0][around].flatten(0, -2).mean(0)
        assert torch.allclose(y[0][at], mean - x[0][at], atol=1e-5)
