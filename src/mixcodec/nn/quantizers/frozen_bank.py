"""One very large codebook: a frozen bank of features, brought into the latent space by a learned projector."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.lookup import Learned
from mixcodec.nn.quantizers.projected import principal_axes
from mixcodec.nn.quantizers.search import k_means
from mixcodec.registry import whole_number

FITS = ("sample", "k-means")


@QUANTIZERS.register("frozen_bank")
class FrozenBank(Learned):
    """Projects z (B, T, C) to `dim` channels, takes the nearest of projector(bank), projects back.

    Zhu et al., 2024, Scaling the Codebook Size of VQGAN to 100,000 with a Utilization Rate of 99% (VQGAN-LC). The bank
    (size, features) holds features of real signals, so that each entry has something to stand for; it never learns, and
    the projector moves all entries at once. `start` fills it with latents, `fill` with features of any other encoder, of
    which it keeps a random `size` or, by `fit`, k-means' centres. The search goes block by block: 2^17 entries take no
    more memory than a few thousand.
    """

    bank: torch.Tensor
    filled: torch.Tensor

    def __init__(
        self,
        channels: int,
        size: int = 16384,
        dim: int = 8,
        features: int | None = None,
        fit: str = "sample",
        metric: str = "euclidean",
        commitment: float = 0.25,
    ) -> None:
        super().__init__("frozen_bank", channels, size, dim, metric, commitment)
        if fit not in FITS:
            raise ConfigError(f"quantizer 'frozen_bank': fit must be one of {', '.join(FITS)}, not {fit!r}")
        self.fit, self.channels = fit, channels
        self.features = channels if features is None else whole_number("quantizer 'frozen_bank': features", features)
        self.register_buffer("bank", torch.randn(size, self.features))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.projector = torch.nn.Linear(self.features, dim)

    def raw_entries(self) -> torch.Tensor:
        return self.projector(self.bank)

    @torch.no_grad()
    def fill(self, features: torch.Tensor) -> None:
        """Makes the bank of features (M, `features`) and the projector their principal directions.

        Raises ConfigError for features of another width and if there are fewer than `size`.
        """
        if features.ndim != 2 or features.shape[1] != self.features:
            shape = tuple(features.shape)
            raise ConfigError(f"quantizer 'frozen_bank': features is {self.features}, but what is to fill it has shape {shape}")
        if len(features) < self.size:
            few = f"there are only {len(features)} vectors to fill it with; give more or lower it"
            raise ConfigError(f"quantizer 'frozen_bank': size is {self.size}, but {few}")
        if self.fit == "k-means":
            self.bank.copy_(k_means(features, self.size, "euclidean"))
        else:
            self.bank.copy_(features[torch.randperm(len(features))[: self.size]])
        mean, axes = principal_axes(features, self.dim)
        scale = ((features - mean) @ axes).std(0).mean().clamp(min=1e-4)
        self.projector.weight.copy_(axes.T / scale)
        self.projector.bias.copy_(-(axes.T @ mean) / scale)
        self.filled.fill_(1)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal directions of z (M, C) as projections; fills the bank with z if `fill` has not.

        Raises ConfigError if that is not possible.
        """
        self._start_projections(z)
        if not self.filled:
            self.fill(z)
            self.projector.weight.copy_(self.enter.weight)
            self.projector.bias.copy_(self.enter.bias)
        self._count_anew(z)
