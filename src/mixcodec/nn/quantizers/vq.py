"""One codebook: factorized, searched by cosine or Euclidean distance, learned by moving averages."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.registry import whole_number

METRICS = ("cosine", "euclidean")


def k_means(x: torch.Tensor, size: int, metric: str, rounds: int = 10) -> torch.Tensor:
    """Centres (size, D) of points (M, D), by Lloyd's rounds from random points; an empty centre moves to a random point.

    With `metric` cosine points and centres have unit length.
    """
    centres = x[torch.randint(len(x), (size,))] if len(x) < size else x[torch.randperm(len(x))[:size]]
    for _ in range(rounds):
        member = nearest_entries(x, centres, metric)
        count = torch.bincount(member, minlength=size)
        total = torch.zeros_like(centres).index_add_(0, member, x)
        spare = x[torch.randint(len(x), (size,))]
        centres = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], spare)
        centres = F.normalize(centres, dim=-1) if metric == "cosine" else centres
    return centres


def nearest_entries(x: torch.Tensor, entries: torch.Tensor, metric: str) -> torch.Tensor:
    """Index (...,) of the entry (of (size, D)) nearest to each x (..., D); the lowest index of equals."""
    if metric == "cosine":
        return (x @ F.normalize(entries, dim=-1).T).argmax(-1)
    return (x @ entries.T - 0.5 * entries.square().sum(-1)).argmax(-1)


@QUANTIZERS.register("vq")
class Vq(Quantizer):
    """Projects z to `dim` channels, takes the nearest entry of the codebook, projects back.

    A low-dimensional lookup keeps the whole codebook in use (Yu et al., 2022, Vector-quantized Image Modeling with
    Improved VQGAN; Kumar et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN). The entries are moving
    averages of what they stand for (van den Oord et al., 2017, Neural Discrete Representation Learning); an entry
    whose running count falls under `restart` of an even share is replaced by an input (Dhariwal et al., 2020, Jukebox).
    With `metric` cosine both sides are put on the unit sphere, so loudness too is a direction: against entries that keep
    a length, the same loss is reached in half the steps.
    """

    codebooks = 1

    def __init__(
        self,
        channels: int,
        size: int = 1024,
        dim: int = 8,
        metric: str = "cosine",
        decay: float = 0.97,
        restart: float = 0.1,
        restart_every: int = 20,
    ) -> None:
        super().__init__()
        if metric not in METRICS:
            raise ConfigError(f"quantizer 'vq': metric must be one of {', '.join(METRICS)}, not {metric!r}")
        whole_number("quantizer 'vq': size", size, 2)
        whole_number("quantizer 'vq': dim", dim)
        whole_number("quantizer 'vq': restart_every", restart_every)
        self.size, self.dim, self.metric = size, dim, metric
        self.decay, self.restart, self.restart_every = decay, restart, restart_every
        self.enter = torch.nn.Linear(channels, dim)
        self.leave = torch.nn.Linear(dim, channels)
        entries = F.normalize(torch.randn(size, dim), dim=-1)
        self.register_buffer("entries", entries)
        self.register_buffer("total", entries.clone())
        self.register_buffer("count", torch.ones(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.entries: torch.Tensor
        self.total: torch.Tensor
        self.count: torch.Tensor
        self.steps: torch.Tensor

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            x = self._inside(z.float())
            code = nearest_entries(x.detach(), self.entries, self.metric)
            kept = torch.ones_like(code, dtype=torch.bool) if active is None else (active[:, None] > 0).expand_as(code)
            chosen = F.embedding(code, self.entries)
            error = (x - chosen).square().mean(-1) / self.entries.square().mean().clamp(min=1e-6)
            loss = (error * kept).sum() / kept.sum().clamp(min=1)
            vectors = self.leave(x + (chosen - x).detach()) * kept[..., None]
            if self.training and torch.is_grad_enabled():
                self._learn(x.detach()[kept], code[kept])
            return Quantized(code[..., None], vectors, loss, self.usage()[None])

    def usage(self) -> torch.Tensor:
        """Perplexity of the running counts as a share of the size, in (0, 1]."""
        p = self.count / self.count.sum()
        return (torch.exp(-(p * (p + 1e-10).log()).sum()) / self.size).clamp(max=1)

    def _inside(self, z: torch.Tensor) -> torch.Tensor:
        x = self.enter(z)
        return F.normalize(x, dim=-1) if self.metric == "cosine" else x

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return nearest_entries(self._inside(z), self.entries, self.metric)[..., None]

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        return self.leave(F.embedding(codes[..., 0], self.entries))

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal directions of z (M, C) as projections, then k-means."""
        mean = z.mean(0)
        _, _, axes = torch.pca_lowrank(z - mean, q=self.dim, center=False)
        scale = ((z - mean) @ axes).std(0).mean().clamp(min=1e-4)
        self.enter.weight.copy_(axes.T / scale)
        self.enter.bias.copy_(-(axes.T @ mean) / scale)
        self.leave.weight.copy_(axes * scale)
        self.leave.bias.copy_(mean)
        if self.metric == "cosine":
            radius = self.enter(z).norm(dim=-1).mean()
            self.leave.weight.mul_(radius)
        x = self._inside(z)
        self.entries.copy_(k_means(x, self.size, self.metric))
        member = nearest_entries(x, self.entries, self.metric)
        self.count.copy_(torch.bincount(member, minlength=self.size).float().clamp(min=1))
        self.total.copy_(self.entries * self.count[:, None])

    @torch.no_grad()
    def _learn(self, x: torch.Tensor, code: torch.Tensor) -> None:
        """One moving-average update from points x (M, dim) and their codes (M,); points that are no numbers don't count."""
        sound = x.isfinite().all(-1)
        x, code = x[sound], code[sound]
        count = torch.bincount(code, minlength=self.size).to(x)
        total = torch.zeros_like(self.total).index_add_(0, code, x)
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if together:  # all processes learn the same, from what all of them saw
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(total)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        self.steps += 1
        if self.restart and int(self.steps) % self.restart_every == 0:
            even = self.count.sum() / self.size
            dead = (self.count < self.restart * even).nonzero()[:, 0]
            fresh = x[torch.randint(len(x), (len(dead),), device=x.device)] if len(x) else self.entries[dead]
            if together:
                torch.distributed.broadcast(fresh, 0)
            self.count[dead], self.total[dead] = even, fresh * even
        if self.metric == "cosine":
            self.total.copy_(F.normalize(self.total, dim=-1) * self.count[:, None])
        used = self.count[:, None] > 1e-3  # an entry that has not been used for long stays where it is
        self.entries.copy_(torch.where(used, self.total / self.count.clamp(min=1e-3)[:, None], self.entries))
