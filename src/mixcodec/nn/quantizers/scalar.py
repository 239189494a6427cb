"""Many numbers a frame, each rounded by itself: scalar latents."""

import torch

from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.projected import Projected
from mixcodec.registry import whole_number

UNIFORM = 0.8  # tanh(0.8 g) of a normal g is as good as uniform


@QUANTIZERS.register("scalar")
class Scalar(Projected):
    """Projects z (B, T, C) to `codebooks` numbers, bounds each by a tanh and rounds it to `size` steps from -1 to 1.

    Yang et al., 2024, SimpleSpeech: Towards Simple and Efficient Text-to-Speech with Scalar Latent Transformer Diffusion
    Models (SQ-Codec); there `size` is 2 S + 1. Each number is a codebook of its own, and one that is left out stands for
    0: `start` orders them by variance, so that the first k are the best k.
    """

    def __init__(self, channels: int, codebooks: int = 16, size: int = 19) -> None:
        whole_number("quantizer 'scalar': codebooks", codebooks)
        whole_number("quantizer 'scalar': size", size, 2)
        super().__init__(channels, codebooks)
        self.codebooks, self.size = codebooks, size
        self.register_buffer("count", torch.ones(codebooks, size))

    def _inside(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.enter(z))

    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = ((x + 1) * ((self.size - 1) / 2)).round().long().clamp(min=0)  # of what is no number, too
        return codes, self._stands_for(codes)

    def _stands_for(self, codes: torch.Tensor) -> torch.Tensor:
        return codes * (2 / (self.size - 1)) - 1

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal components of z (M, C), strongest first, scaled to use all steps; back by least squares."""
        self._spread(z, UNIFORM)
        self._fit_leave(z)
        self._count_anew(z)
