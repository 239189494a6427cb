"""One codebook whose entries all move together: a frozen random basis times one learned linear layer."""

import torch

from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.lookup import Learned


@QUANTIZERS.register("simvq")
class SimVq(Learned):
    """Projects z (B, T, C) to `dim` channels, takes the nearest of linear(basis), projects back.

    Zhu et al., 2024, Addressing Representation Collapse in Vector Quantized Models with One Linear Layer. The basis
    (size, dim) is random and never learns; the gradient of a chosen entry goes to the linear layer and so moves the whole
    codebook, entries that were not chosen too: none is left behind, and the codebook can be made large.
    """

    basis: torch.Tensor

    def __init__(
        self, channels: int, size: int = 1024, dim: int = 8, metric: str = "euclidean", commitment: float = 0.25
    ) -> None:
        super().__init__("simvq", channels, size, dim, metric, commitment)
        self.register_buffer("basis", torch.randn(size, dim))
        self.linear = torch.nn.Linear(dim, dim)

    def raw_entries(self) -> torch.Tensor:
        return self.linear(self.basis)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal directions of z (M, C) as projections; the linear layer gives the entries the spread of what comes in."""
        x = self._start_projections(z)
        self.linear.weight.copy_(torch.diag(x.std(0)))
        self.linear.bias.copy_(x.mean(0))
        self._count_anew(z)
