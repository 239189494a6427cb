"""What quantizers share that search a table of entries."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.projected import Projected, principal_axes
from mixcodec.nn.quantizers.search import METRICS, nearest_entries, nearest_in_graph
from mixcodec.registry import whole_number


class Lookup(Projected):
    """Takes the entry of `table` that is nearest to x by `metric`; with cosine, x has unit length.

    A member gives the table, (size, dim), with entries of unit length if `metric` is cosine.
    """

    codebooks = 1

    def __init__(self, kind: str, channels: int, size: int, dim: int, metric: str) -> None:
        if metric not in METRICS:
            raise ConfigError(f"quantizer {kind!r}: metric must be one of {', '.join(METRICS)}, not {metric!r}")
        whole_number(f"quantizer {kind!r}: size", size, 2)
        whole_number(f"quantizer {kind!r}: dim", dim)
        super().__init__(channels, dim)
        self.size, self.metric = size, metric

    def table(self) -> torch.Tensor:
        """The entries (size, dim)."""
        raise NotImplementedError

    def _inside(self, z: torch.Tensor) -> torch.Tensor:
        x = self.enter(z)
        return F.normalize(x, dim=-1) if self.metric == "cosine" else x

    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        table = self.table()
        # On the unit sphere a product is a cosine. Where averaging weights over training steps has made an entry shorter, it
        # moved much in them, and the product chooses it less: fewer bits than the cosine, at nearly the same error.
        metric = "product" if self.metric == "cosine" else self.metric
        code = nearest_entries(x.detach(), table.detach(), metric, self._cost())
        return code[..., None], F.embedding(code, table)

    def choose_in_graph(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Code (..., 1) of y (..., dim), which is what `enter` gives, and its entry (..., dim): for an exported graph."""
        code = nearest_in_graph(y, self.table(), self.metric, self._cost())
        return code, F.embedding(code.squeeze(-1), self.table())

    def _cost(self) -> torch.Tensor | None:
        """What counts against each entry (size,) in the choice beside its distance; None where nothing does."""
        return None

    def _stands_for(self, codes: torch.Tensor) -> torch.Tensor:
        return F.embedding(codes[..., 0], self.table())

    def _error(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """What is lost of each x (..., dim): (...)."""
        return (x - chosen).square().mean(-1)

    def _loss(self, x: torch.Tensor, chosen: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """The mean error, as a share of the entries' mean square: so that making all small gains nothing."""
        error = self._error(x, chosen) / self.table().detach().square().mean().clamp(min=1e-6)
        return (error * kept).sum() / self._seen(kept).clamp(min=1)

    def _start_projections(self, z: torch.Tensor) -> torch.Tensor:
        """Principal directions of z (M, C) as projections; what z then is inside, (M, dim)."""
        mean, axes = principal_axes(z, self.dim)
        scale = ((z - mean) @ axes).std(0).mean().clamp(min=1e-4)
        self.enter.weight.copy_(axes.T / scale)
        self.enter.bias.copy_(-(axes.T @ mean) / scale)
        self.leave.weight.copy_(axes * scale)
        self.leave.bias.copy_(mean)
        if self.metric == "cosine":
            radius = self.enter(z).norm(dim=-1).mean()
            self.leave.weight.mul_(radius)
        return self._inside(z)


class Learned(Lookup):
    """A table that gradients move: the loss pulls the chosen entry to x and, `commitment` times as hard, x to the entry."""

    def __init__(self, kind: str, channels: int, size: int, dim: int, metric: str, commitment: float) -> None:
        if isinstance(commitment, bool) or not isinstance(commitment, int | float) or not 0 <= commitment < float("inf"):
            raise ConfigError(f"quantizer {kind!r}: commitment is {commitment!r}, but must be a number from 0 up")
        super().__init__(kind, channels, size, dim, metric)
        self.commitment = commitment
        self.register_buffer("count", torch.ones(size))

    def raw_entries(self) -> torch.Tensor:
        """The entries (size, dim), of any length."""
        raise NotImplementedError

    def table(self) -> torch.Tensor:
        entries = self.raw_entries()
        return F.normalize(entries, dim=-1) if self.metric == "cosine" else entries

    def _error(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        pull = (chosen - x.detach()).square().mean(-1)
        return pull + self.commitment * (x - chosen.detach()).square().mean(-1)
