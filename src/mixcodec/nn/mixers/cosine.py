"""The dynamic spectrum of a cosine transform."""

import math

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, SPECTRUM, Mixer, never_causal, ranks
from mixcodec.nn.mixers.scan import wide
from mixcodec.registry import whole_number


def dct(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Orthonormal DCT-II along `axis`, by a Fourier transform of the signal and its mirror image."""
    x = x.movedim(axis, -1)
    n = x.shape[-1]
    spectrum = torch.fft.rfft(torch.cat([x, x.flip(-1)], -1))[..., :n]
    return ((spectrum * _turn(n, x).conj()).real * _norm(n, x)).movedim(-1, axis)


def inverse_dct(x: torch.Tensor, axis: int) -> torch.Tensor:
    """What `dct` came from."""
    x = x.movedim(axis, -1)
    n = x.shape[-1]
    spectrum = F.pad(x / _norm(n, x), [0, 1]) * _turn(n, x, 1)
    return torch.fft.irfft(spectrum, 2 * n)[..., :n].movedim(-1, axis)


def _turn(n: int, like: torch.Tensor, more: int = 0) -> torch.Tensor:
    angle = torch.arange(n + more, dtype=like.dtype, device=like.device) * (math.pi / (2 * n))
    return torch.polar(torch.ones_like(angle), angle)


def _norm(n: int, like: torch.Tensor) -> torch.Tensor:
    norm = like.new_full((n,), (2 * n) ** -0.5)
    norm[0] = (4 * n) ** -0.5
    return norm


@MIXERS.register("dct")
class Dct(Mixer):
    """Cosine transform over the tokens, weights for `bands` bands an axis made from the bands' strength, transform back.

    Hu and Yang, 2023, Dynamic Spectrum Mixer for Visual Recognition. A perceptron, the same for all bands but for a learned
    offset of each, sees the mean magnitude of a band in every channel and gives a weight for every channel, one plus
    something: with all weights one the mixer is the identity. (B, *grid, C), `rank` 1 or 2 (the offsets are made for it),
    any size. Cost per token: about 4 * C * log2(N) for N tokens, and the perceptron's a band.
    """

    growth = "n log n"
    exports = SPECTRUM

    def __init__(self, channels: int, bands: int = 8, rank: int = 1, causal: bool = False) -> None:
        super().__init__()
        never_causal("dct", causal, "each frequency sums over the whole signal, its end too; take 'lmu' or 'ssm'")
        whole_number("mixer 'dct': bands", bands, 1, 256)
        self.causal, self.grid_ranks, self.bands = causal, ranks("dct", causal, rank), bands
        self.offset = torch.nn.Parameter(torch.randn(*[bands] * rank, channels) * 0.02)
        self.up = torch.nn.Linear(channels, channels)
        self.down = torch.nn.Linear(channels, channels)

    def weights(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The weight of each band, (B, bands.., C), for a spectrum (B, *grid, C)."""
        strength = spectrum.abs()
        for axis in range(1, spectrum.ndim - 1):
            member = self._member(spectrum.shape[axis], strength)
            strength = torch.tensordot(strength, member / member.sum(0).clamp(min=1), ([axis], [0])).movedim(-1, axis)
        hidden = F.gelu(self.up(strength.to(self.up.weight.dtype)) + self.offset)
        return 1 + self.down(hidden)

    def _member(self, n: int, like: torch.Tensor) -> torch.Tensor:
        """(n, bands): 1 where a frequency is in a band."""
        return F.one_hot(torch.arange(n, device=like.device) * self.bands // n, self.bands).to(like.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = wide(x)
        for axis in range(1, x.ndim - 1):
            spectrum = dct(spectrum, axis)
        weights = self.weights(spectrum)
        for axis in range(1, x.ndim - 1):
            weights = weights.index_select(axis, torch.arange(x.shape[axis], device=x.device) * self.bands // x.shape[axis])
        spectrum = spectrum * weights
        for axis in range(1, x.ndim - 1):
            spectrum = inverse_dct(spectrum, axis)
        return spectrum.to(x.dtype)
