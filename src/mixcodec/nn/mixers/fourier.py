"""The Fourier transform as mixer."""

import torch

from mixcodec.nn.mixers.base import MIXERS, Mixer, never_causal
from mixcodec.nn.mixers.scan import wide


@MIXERS.register("fourier")
class Fourier(Mixer):
    """The real part of the discrete Fourier transform over all tokens and over the channels, scaled to keep the energy.

    Lee-Thorp et al., 2021, FNet: Mixing Tokens with Fourier Transforms. (B, *grid, C) of any rank and size; linear, no
    parameters. Cost per token: about C * log2(N C) for N tokens.
    """

    linear = True
    growth = "n log n"
    grid_ranks = (1, 2, 3)

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        never_causal("fourier", causal, "each frequency sums over the whole signal, its end too; take 'lmu' or 'ssm'")
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftn(wide(x), dim=tuple(range(1, x.ndim)), norm="ortho").real.to(x.dtype)
