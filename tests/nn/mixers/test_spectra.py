"""Mixers in the frequency domain, against circular convolution, scipy and PyWavelets; linear ones against their matrix."""

import importlib

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS, mixing_matrix


def circular(x, kernel):
    """The circular convolution of x and kernel, both (*grid, C), term by term."""
    y = np.zeros_like(x)
    for place in np.ndindex(x.shape[:-1]):
        y += kernel[place] * np.roll(x, place, tuple(range(x.ndim - 1)))
    return y


@torch.no_grad()
@pytest.mark.parametrize("grid", [(8,), (9,), (6, 8), (5, 7), (3, 4, 5)])
def test_adaptive_filter_is_circular_convolution_with_its_mask(grid):
    from mixcodec.nn.mixers.spectral import AdaptiveFilter

    mixer, x = AdaptiveFilter(8), torch.randn(1, *grid, 8)
    axes = tuple(range(1, x.ndim - 1))
    mask = mixer.mask(torch.fft.rfftn(x, dim=axes, norm="ortho"))
    kernel = torch.fft.irfftn(mask, grid, axes)[0].numpy()
    np.testing.assert_allclose(mixer(x)[0].numpy(), circular(x[0].numpy(), kernel), atol=1e-5)
    assert not torch.allclose(mask, mixer.mask(torch.fft.rfftn(x.flip(1) * 2, dim=axes, norm="ortho")), atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(8,), (6, 6)])
def test_global_filter_is_circular_convolution(grid):
    from mixcodec.nn.mixers.spectral import GlobalFilter

    mixer, x = GlobalFilter(4, grid[0], len(grid)), torch.randn(1, *grid, 4)
    mixer.weight.copy_(torch.randn_like(mixer.weight))
    kernel = torch.fft.irfftn(torch.view_as_complex(mixer.weight), grid, tuple(range(len(grid)))).numpy()
    np.testing.assert_allclose(mixer(x)[0].numpy(), circular(x[0].numpy(), kernel), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [7, 12, 13, 20])
def test_global_filter_means_the_same_in_tokens_on_another_size(size):
    from mixcodec.nn.mixers.spectral import GlobalFilter

    mixer, impulse = GlobalFilter(1, 12), torch.zeros(12, 1)
    impulse[[0, 1, 11]] = torch.tensor([[3.0], [2.0], [1.0]])
    mixer.weight.copy_(torch.view_as_real(torch.fft.rfft(impulse, dim=0)))
    x = torch.randn(1, size, 1)
    torch.testing.assert_close(mixer(x), 3 * x + 2 * x.roll(1, 1) + x.roll(-1, 1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_fourier_is_numpys():
    from mixcodec.nn.mixers.fourier import Fourier

    x = torch.randn(2, 5, 6, 8)
    expected = np.fft.fftn(x.numpy(), axes=(1, 2, 3), norm="ortho").real
    np.testing.assert_allclose(Fourier()(x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_dct_is_scipys_and_comes_back(size):
    from mixcodec.nn.mixers.cosine import dct, inverse_dct

    fft = pytest.importorskip("scipy.fft")
    x = torch.randn(3, size, 4).double()
    np.testing.assert_allclose(dct(x, 1).numpy(), fft.dct(x.numpy(), axis=1, norm="ortho"), atol=1e-12)
    torch.testing.assert_close(inverse_dct(dct(x, 1), 1), x, atol=1e-12, rtol=0)


@torch.no_grad()
def test_dct_with_weights_one_is_the_identity_and_weights_follow_the_input():
    from mixcodec.nn.mixers.cosine import Dct

    mixer, x = Dct(8, rank=2), torch.randn(1, 9, 10, 8)
    assert not torch.allclose(mixer.weights(x), mixer.weights(x * 3), atol=1e-2)
    mixer.down.weight.zero_()
    mixer.down.bias.zero_()
    torch.testing.assert_close(mixer(x), x, atol=1e-5, rtol=1e-5)


def test_haar_is_pywavelets_and_comes_back():
    from mixcodec.nn.mixers.wavelet import haar, inverse_haar

    pywt = pytest.importorskip("pywt")
    line, plane = torch.randn(1, 12, 2).double(), torch.randn(1, 6, 8, 2).double()
    expected = np.concatenate(pywt.dwt(line.numpy(), "haar", axis=1), -1)
    np.testing.assert_allclose(haar(line).numpy(), expected, atol=1e-12)
    bands = pywt.dwtn(plane.numpy(), "haar", axes=(1, 2))
    expected = np.concatenate([bands[name] for name in ("aa", "ad", "da", "dd")], -1)
    np.testing.assert_allclose(haar(plane).numpy(), expected, atol=1e-12)
    for x in (line, plane):
        torch.testing.assert_close(inverse_haar(haar(x)), x, atol=1e-12, rtol=0)


def test_three_levels_reach_eight_tokens():
    from mixcodec.nn.mixers.wavelet import Wavelet

    mixer, x = Wavelet(4, levels=3), torch.randn(1, 24, 4, requires_grad=True)
    mixer(x)[0, 10].sum().backward()
    assert x.grad[0].abs().sum(-1).nonzero().flatten().tolist() == list(range(8, 16))


LINEAR = [{"kind": "identity"}, {"kind": "pooling"}, {"kind": "convolution"}, {"kind": "random", "size": 4}, {"kind": "lmu"}]
LINEAR += [
    {"kind": "convolution", "causal": False},
    {"kind": "shift"},
    {"kind": "shift", "causal": False},
    {"kind": "pooling", "causal": False},
]
LINEAR += [{"kind": "random", "causal": False, "size": 11}, {"kind": "fourier"}, {"kind": "global_filter", "size": 11}]


@torch.no_grad()
@pytest.mark.parametrize("config", LINEAR, ids=str)
def test_a_linear_mixer_is_its_matrix(config):
    for home in ("fourier", "spectral"):
        importlib.import_module(f"mixcodec.nn.mixers.{home}")
    mixer, x = MIXERS.build(config, channels=8), torch.randn(3, 11, 8)
    matrix = mixing_matrix(mixer, 11, 8)
    expected = torch.einsum("icjd,bjd->bic", matrix, x) + mixer(torch.zeros(1, 11, 8))
    torch.testing.assert_close(mixer(x), expected, atol=1e-5, rtol=1e-5)
    if mixer.causal:
        later = torch.ones(11, 11).triu(1).bool()
        assert matrix.permute(0, 2, 1, 3)[later].abs().max() < 1e-6


def test_every_mixer_that_says_so_is_in_the_list_and_the_others_have_no_matrix():
    for kind in MIXERS.kinds():
        mixer = MIXERS.build(kind, channels=8)
        assert mixer.linear == (kind in {config["kind"] for config in LINEAR})
        if not mixer.linear:
            with pytest.raises(ConfigError, match="not linear"):
                mixing_matrix(mixer, 5, 8)


def test_matrices_known_by_hand():
    from mixcodec.nn.mixers.fourier import Fourier

    pooling = mixing_matrix(MIXERS.build({"kind": "pooling", "size": 2}, channels=1), 3, 1)[:, 0, :, 0]
    assert pooling.tolist() == [[0, 0, 0], [0.5, -0.5, 0], [0, 0.5, -0.5]]
    place = torch.arange(5)
    fourier = mixing_matrix(Fourier(), 5, 1)[:, 0, :, 0]
    torch.testing.assert_close(fourier, torch.cos(2 * torch.pi * place[:, None] * place / 5) / 5**0.5, atol=1e-6, rtol=0)
    random = MIXERS.build({"kind": "random", "size": 3, "causal": False}, channels=1)
    torch.testing.assert_close(mixing_matrix(random, 3, 1)[:, 0, :, 0], random.matrix)
    torch.testing.assert_close(random.matrix.sum(1), torch.ones(3))
    with pytest.raises(ConfigError, match="too large"):
        mixing_matrix(random, 1000, 8)
