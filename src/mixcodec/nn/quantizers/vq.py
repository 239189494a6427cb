"""One codebook: factorized, searched by cosine or Euclidean distance, learned by moving averages."""

from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.processes import drawn_from_all, sum_over_processes
from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.lookup import Lookup
from mixcodec.nn.quantizers.search import k_means, nearest_entries
from mixcodec.registry import whole_number


@QUANTIZERS.register("vq")
class Vq(Lookup):
    """Projects z (B, T, C) to `dim` channels, takes the nearest entry of the codebook, projects back.

    A low-dimensional lookup keeps the whole codebook in use (Yu et al., 2022, Vector-quantized Image Modeling with
    Improved VQGAN; Kumar et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN). The entries are moving
    averages of what they stand for (van den Oord et al., 2017, Neural Discrete Representation Learning); an entry
    whose running count falls under `restart` of an even share is replaced by an input (Dhariwal et al., 2020, Jukebox).
    With `metric` cosine both sides are put on the unit sphere, so loudness too is a direction: against entries that keep
    a length, the same loss is reached in half the steps. `start` places the entries by k-means, unless `fitted` is False.

    With `thrift` a code is chosen by its similarity to x less `thrift` times the bits that its share of the counts is worth
    (Chou, Lookabaugh and Gray, 1989, Entropy-Constrained Vector Quantization): some nearness is given for codes that are
    used more often, and so cost less once they are entropy coded.
    """

    def __init__(
        self,
        channels: int,
        size: int = 1024,
        dim: int = 8,
        metric: str = "cosine",
        decay: float = 0.97,
        restart: float = 0.1,
        restart_every: int = 20,
        fitted: bool = True,
        thrift: float = 0.0,
    ) -> None:
        super().__init__("vq", channels, size, dim, metric)
        if isinstance(thrift, bool) or not isinstance(thrift, int | float) or not 0 <= thrift < 1:
            raise ConfigError(f"quantizer 'vq': thrift is {thrift!r}, but must be a number from 0 to below 1")
        self.thrift = thrift
        whole_number("quantizer 'vq': restart_every", restart_every)
        self.decay, self.restart, self.restart_every, self.fitted = decay, restart, restart_every, fitted
        entries = F.normalize(torch.randn(size, dim), dim=-1)
        self.register_buffer("entries", entries)
        self.register_buffer("total", entries.clone())
        self.register_buffer("count", torch.ones(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.entries: torch.Tensor
        self.total: torch.Tensor
        self.count: torch.Tensor
        self.steps: torch.Tensor
        self._done: int | None = None  # `steps` as a plain number, for which a GPU need not be waited for; None: not known

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._done = None

    def table(self) -> torch.Tensor:
        return self.entries

    def _cost(self) -> torch.Tensor | None:
        if not self.thrift:
            return None
        return self.thrift * torch.log2(self.count.sum() / self.count.clamp(min=1e-3))

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal directions of z (M, C) as projections; if `fitted`, k-means."""
        x = self._start_projections(z)
        if self.fitted:
            self.entries.copy_(k_means(x, self.size, self.metric))
        member = nearest_entries(x, self.entries, self.metric)
        self.count.copy_(torch.bincount(member, minlength=self.size).float().clamp(min=1))
        self.total.copy_(self.entries * self.count[:, None])

    def _learn(self, x: torch.Tensor, codes: torch.Tensor, kept: torch.Tensor) -> None:
        """One moving-average update, of which all processes learn the same; points that are no numbers don't count."""
        x, code = x.flatten(0, -2), codes.flatten()
        sound = kept.flatten() & x.isfinite().all(-1)
        x = torch.where(sound[:, None], x, 0.0)  # no choice by mask, for which a GPU would have to be waited for
        count = torch.zeros_like(self.count).index_add_(0, code, sound.to(x))
        total = torch.zeros_like(self.total).index_add_(0, code, x)
        sum_over_processes(count, total)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        self.steps += 1
        self._done = int(self.steps) if self._done is None else self._done + 1
        if self.restart and self._done % self.restart_every == 0:
            even = self.count.sum() / self.size
            dead = (self.count < self.restart * even).nonzero()[:, 0]
            fresh = drawn_from_all(x, sound, len(dead))
            fresh = self.entries[dead] if fresh is None else fresh
            self.count[dead], self.total[dead] = even, fresh * even
        if self.metric == "cosine":
            self.total.copy_(F.normalize(self.total, dim=-1) * self.count[:, None])
        used = self.count[:, None] > 1e-3  # an entry that has not been used for long stays where it is
        self.entries.copy_(torch.where(used, self.total / self.count.clamp(min=1e-3)[:, None], self.entries))
