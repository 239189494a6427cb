"""Mixing in the bands of a wavelet transform."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import COUNTED, MIXERS, Mixer, never_causal, ranks
from mixcodec.registry import whole_number


def haar(x: torch.Tensor) -> torch.Tensor:
    """One level of the orthonormal Haar transform on every axis of x (B, *grid, C), each even -> (B, *grid / 2, C * 2^rank).

    The first C channels are the low band, and of the bands the last axis turns fastest.
    """
    bands = [x]
    for axis in range(1, x.ndim - 1):
        halves: list[torch.Tensor] = []
        for band in bands:
            even, odd = band.unflatten(axis, (-1, 2)).unbind(axis + 1)
            halves += [(even + odd) * 0.5**0.5, (even - odd) * 0.5**0.5]
        bands = halves
    return torch.cat(bands, -1)


def inverse_haar(x: torch.Tensor) -> torch.Tensor:
    """What `haar` came from."""
    bands = list(x.chunk(2 ** (x.ndim - 2), -1))
    for axis in range(x.ndim - 2, 0, -1):
        bands = [
            torch.stack([(low + high) * 0.5**0.5, (low - high) * 0.5**0.5], axis + 1).flatten(axis, axis + 1)
            for low, high in zip(bands[::2], bands[1::2], strict=True)
        ]
    return bands[0]


@MIXERS.register("wavelet")
class Wavelet(Mixer):
    """Fewer channels, a Haar transform of `levels`, a perceptron over the bands of each level, transform back, linear out.

    Jeevan et al., 2022, WaveMix: A Resource-efficient Neural Network for Image Analysis. A level's perceptron sees all its
    bands at one place; the results go back up through the inverse transform, in place of a learned transposed convolution.
    A token reaches 2^levels tokens at the cost of a few. (B, *grid, C), `rank` 1 or 2, any size (zeros fill the last blocks).
    Cost per token: 2 * share * C^2, and twice the perceptron of one level.
    """

    exports = COUNTED

    def __init__(self, channels: int, levels: int = 3, share: float = 0.5, rank: int = 1, causal: bool = False) -> None:
        super().__init__()
        never_causal(
            "wavelet", causal, "a band's sample stands for a block of tokens, the later ones too; take 'fsmn' or 'shift'"
        )
        self.causal, self.grid_ranks = causal, ranks("wavelet", causal, rank)
        whole_number("mixer 'wavelet': levels", levels, 1, 10)
        inner = hidden_channels(channels, share)
        self.down = torch.nn.Linear(channels, inner)
        self.inner = inner
        bands = inner * 2**rank
        self.levels = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(bands, bands), torch.nn.GELU(), torch.nn.Linear(bands, bands))
            for _ in range(levels)
        )
        self.up = torch.nn.Linear(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, block = self.down(x), 2 ** len(self.levels)
        grid = low.shape[1:-1]
        low = F.pad(low, [0, 0, *(p for n in reversed(grid) for p in (0, -n % block))])
        mixed = []
        for level in self.levels:
            bands = haar(low)
            low = bands[..., : self.inner]
            mixed.append(level(bands))
        y = torch.zeros_like(low)
        for bands in reversed(mixed):
            y = inverse_haar(torch.cat([bands[..., : self.inner] + y, bands[..., self.inner :]], -1))
        for axis, n in enumerate(grid, 1):
            y = y.narrow(axis, 0, n)
        return self.up(y)
