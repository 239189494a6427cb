"""One codebook that gradients learn: the first vector quantizer of the field, kept as the control."""

import torch

from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.lookup import Learned
from mixcodec.nn.quantizers.search import k_means


@QUANTIZERS.register("vq_gradient")
class VqGradient(Learned):
    """Projects z (B, T, C) to `dim` channels, takes the nearest entry of a codebook that is a parameter, projects back.

    van den Oord et al., 2017, Neural Discrete Representation Learning: the codebook loss moves the one entry that was
    chosen and no other. So entries far from the data stay unused for ever, and most of a large codebook collapses: what
    moving averages with restarts (`vq`) and a shared reparameterisation (`simvq`) are there to cure. Entries begin in
    a small cube around 0, as in the paper; with `fitted`, `start` places them by k-means, which cures part of it.
    """

    def __init__(
        self,
        channels: int,
        size: int = 1024,
        dim: int = 8,
        metric: str = "euclidean",
        commitment: float = 0.25,
        fitted: bool = False,
    ) -> None:
        super().__init__("vq_gradient", channels, size, dim, metric, commitment)
        self.fitted = fitted
        self.entries = torch.nn.Parameter(torch.empty(size, dim).uniform_(-1 / size, 1 / size))

    def raw_entries(self) -> torch.Tensor:
        return self.entries

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal directions of z (M, C) as projections; if `fitted`, k-means."""
        x = self._start_projections(z)
        if self.fitted:
            self.entries.copy_(k_means(x, self.size, self.metric))
        self._count_anew(z)
