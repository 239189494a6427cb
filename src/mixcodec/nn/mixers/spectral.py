"""Filters over the tokens' spectrum: one learned, one made by the input."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, SPECTRUM, Export, Mixer, divides, never_causal, ranks
from mixcodec.nn.mixers.scan import wide
from mixcodec.registry import whole_number

WHY = "it is a circular convolution, in which the end of the signal reaches its beginning; take 'convolution'"


def axes(x: torch.Tensor) -> tuple[int, ...]:
    """The grid axes of x (B, *grid, C)."""
    return tuple(range(1, x.ndim - 1))


@MIXERS.register("global_filter")
class GlobalFilter(Mixer):
    """The spectrum over the tokens times a learned complex filter for each channel: a circular convolution of full size.

    Rao et al., 2021, Global Filter Networks for Image Classification. The filter is kept for grids of `size` on each of
    `rank` axes. On another size its impulse response, centred, is cut off or padded with zeros, so that it means the same in
    tokens. (B, *grid, C), linear. Cost per token: about 2 * C * log2(N) for N tokens.
    """

    linear = True
    growth = "n log n"
    exports = Export("one", "its impulse response is turned by half of the grid, a number that ONNX wants to know")

    def __init__(self, channels: int, size: int = 64, rank: int = 1, causal: bool = False) -> None:
        super().__init__()
        never_causal("global_filter", causal, WHY)
        self.causal, self.grid_ranks = causal, ranks("global_filter", causal, rank)
        self.size = whole_number("mixer 'global_filter': size", size, 2, 1 << 16)
        impulse = torch.randn(*[size] * rank, channels) * 0.02
        impulse[(0,) * rank] += 1
        spectrum = torch.fft.rfftn(impulse, dim=tuple(range(rank)))
        self.weight = torch.nn.Parameter(torch.view_as_real(spectrum).contiguous())

    def spectrum(self, grid: tuple[int, ...]) -> torch.Tensor:
        """The filter (*rfft of grid, C) for a grid."""
        weight = torch.view_as_complex(wide(self.weight))
        where = tuple(range(len(grid)))
        if all(n == self.size for n in grid):
            return weight
        impulse = torch.fft.fftshift(torch.fft.irfftn(weight, [self.size] * len(grid), where), where)
        for axis, n in enumerate(grid):
            before = n // 2 - self.size // 2
            after = n - self.size - before
            impulse = F.pad(impulse, [0, 0] * (impulse.ndim - 1 - axis) + [before, after])
        return torch.fft.rfftn(torch.fft.ifftshift(impulse, where), dim=where)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = x.shape[1:-1]
        y = torch.fft.rfftn(wide(x), dim=axes(x)) * self.spectrum(tuple(grid))
        return torch.fft.irfftn(y, grid, axes(x)).to(x.dtype)


@MIXERS.register("adaptive_filter")
class AdaptiveFilter(Mixer):
    """The spectrum over the tokens times a complex mask that a small network makes of that spectrum.

    Huang et al., 2023, Adaptive Frequency Filters As Efficient Global Token Mixers. So it equals a circular convolution with
    the inverse transform of the mask: a kernel as large as the signal, new for every input. The network works on each
    frequency alone, in `blocks` groups of channels: linear, ReLU, linear on real and imaginary parts. (Here the linear maps
    are real matrices over both parts; the authors' are complex products, and they shrink the
    mask's small numbers to zero and add x to the result, as a block does.) (B, *grid, C), of any size and rank. Cost per
    token: 2 * C * log2(N) and 4 * C^2 / blocks.
    """

    grid_ranks = (1, 2, 3)
    growth = "n log n"
    exports = SPECTRUM

    def __init__(self, channels: int, blocks: int = 4, causal: bool = False) -> None:
        super().__init__()
        never_causal("adaptive_filter", causal, WHY)
        size = 2 * divides("adaptive_filter", channels, blocks, "blocks")
        self.causal, self.blocks = causal, blocks
        self.inner = torch.nn.Parameter(torch.randn(blocks, size, size) / size**0.5)
        self.inner_bias = torch.nn.Parameter(torch.zeros(blocks, size))
        self.outer = torch.nn.Parameter(torch.randn(blocks, size, size) / size**0.5)
        self.outer_bias = torch.nn.Parameter(torch.zeros(blocks, size))

    def mask(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The complex mask of a spectrum, both (B, *frequencies, C)."""
        parts = spectrum.unflatten(-1, (self.blocks, -1))
        parts = torch.cat([parts.real, parts.imag], -1)  # (B, *frequencies, blocks, 2 C / blocks)
        hidden = F.relu(torch.einsum("...bi,bij->...bj", parts, self.inner.to(parts.dtype)) + self.inner_bias)
        mask = torch.einsum("...bi,bij->...bj", hidden, self.outer.to(parts.dtype)) + self.outer_bias
        real, imaginary = mask.chunk(2, -1)
        return torch.complex(real.flatten(-2), imaginary.flatten(-2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfftn(wide(x), dim=axes(x), norm="ortho")
        return torch.fft.irfftn(spectrum * self.mask(spectrum), x.shape[1:-1], axes(x), norm="ortho").to(x.dtype)
