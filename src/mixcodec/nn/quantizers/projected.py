"""What quantizers share that work in few dimensions: a projection in, a projection out, counts of use."""

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

from mixcodec.nn.processes import mean_over_processes
from mixcodec.nn.quantizers.base import Quantized, Quantizer
from mixcodec.nn.quantizers.use import count_use, perplexity_share

Part = TypeVar("Part", bound=Quantizer)


def in_float32(method: Callable[[Part, torch.Tensor], torch.Tensor]) -> Callable[[Part, torch.Tensor], torch.Tensor]:
    """The method computes in float32 inside mixed precision too: codes must not depend on how a model is run."""

    @functools.wraps(method)
    def run(self: Part, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():  # an exported graph has no mixed precision
            return method(self, x)
        with torch.autocast(x.device.type, enabled=False):
            return method(self, x.float() if x.is_floating_point() else x)

    return run


def principal_axes(z: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C,) and the `dim` directions of most variance (C, dim) of z (M, C), strongest first; zeros beyond its rank."""
    mean = z.mean(0)
    rank = min(dim, *z.shape)
    _, _, axes = torch.pca_lowrank(z - mean, q=rank, center=False)
    return mean, torch.nn.functional.pad(upright(axes), (0, dim - rank))


def upright(axes: torch.Tensor) -> torch.Tensor:
    """Axes (C, n) of which the largest number of each is positive: which end is which is chance otherwise."""
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -axes, axes)


class Projected(Quantizer):
    """Quantizes x = inside(enter(z)), `dim` numbers a vector, and hands back leave(what it chose for x).

    The gradient of the vectors goes straight through to x (Bengio et al., 2013, Estimating or Propagating Gradients
    Through Stochastic Neurons for Conditional Computation). A member says how it chooses and decodes, and what it loses;
    with more than one codebook, each quantizes one number of x. `count`, a buffer (size,) or (codebooks, size) that the
    member registers, runs after how often each entry is used.
    """

    count: torch.Tensor

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.enter = torch.nn.Linear(channels, dim)
        self.leave = torch.nn.Linear(dim, channels)

    def _inside(self, z: torch.Tensor) -> torch.Tensor:
        """x (..., dim) of z (..., C)."""
        return self.enter(z)

    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes (..., K) of x (..., dim), and what they stand for (..., dim)."""
        raise NotImplementedError

    def _stands_for(self, codes: torch.Tensor) -> torch.Tensor:
        """What codes (..., k) of the first k <= K codebooks stand for, (..., k) or, of one codebook, (..., dim)."""
        raise NotImplementedError

    def _loss(self, x: torch.Tensor, chosen: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Scalar, over the frames that `kept` (B, T) marks."""
        return x.new_zeros(())

    def _seen(self, kept: torch.Tensor) -> torch.Tensor:
        """How many frames are kept: in training, the mean over all processes, so that their losses average to one of all."""
        return mean_over_processes(kept.sum()) if self.training and torch.is_grad_enabled() else kept.sum()

    def _learn(self, x: torch.Tensor, codes: torch.Tensor, kept: torch.Tensor) -> None:
        """Learns by statistics from x (B, T, dim) and its codes (B, T, K), of which `kept` (B, T, K) are in use."""
        count_use(self.count, codes, kept)

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            x = self._inside(z.float())
            codes, chosen = self._choose(x)
            books = torch.arange(self.codebooks, device=z.device)
            kept = torch.ones_like(codes, dtype=torch.bool) if active is None else active[:, None, None] > books
            kept = kept.expand_as(codes)
            some = kept[..., 0]
            loss = self._loss(x, chosen, some)
            through = x + (chosen - x).detach()
            if self.codebooks > 1:
                through = through * kept
            vectors = self.leave(through) * some[..., None]
            if self.training and torch.is_grad_enabled():
                with torch.no_grad():
                    self._learn(x.detach(), codes, kept)
            return Quantized(codes, vectors, loss, self.usage())

    def usage(self) -> torch.Tensor:
        """Perplexity of the running counts as a share of the size, in (0, 1], (K,)."""
        return perplexity_share(self.count.view(self.codebooks, self.size))

    @in_float32
    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self._choose(self._inside(z))[0]

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        chosen = self._stands_for(codes)
        if self.codebooks > 1:  # codebooks that are left out stand for 0
            return chosen @ self.leave.weight.T[: codes.shape[-1]] + self.leave.bias
        return self.leave(chosen)

    def _spread(self, z: torch.Tensor, spread: float, centre: torch.Tensor | float = 0.0) -> None:
        """Makes enter(z) the principal components of z (M, C), each with mean `centre` and standard deviation `spread`."""
        mean, axes = principal_axes(z, self.dim)
        axes = spread * axes / ((z - mean) @ axes).std(0).clamp(min=1e-4)
        self.enter.weight.copy_(axes.T)
        self.enter.bias.copy_(centre - mean @ axes)

    def _fit_leave(self, z: torch.Tensor) -> None:
        """Makes `leave` the least-squares way back from what z (M, C) is quantized to: no worse than the mean of z."""
        chosen = self._choose(self._inside(z))[1].double()
        inputs = torch.cat([chosen, torch.ones_like(chosen[:, :1])], -1)
        ridge = 1e-9 * len(z) * torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        found = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ z.double())
        self.leave.weight.copy_(found[:-1].T)
        self.leave.bias.copy_(found[-1])

    def _count_anew(self, z: torch.Tensor) -> None:
        """Sets the counts to the use that z (M, C) makes of the entries, at least 1."""
        codes = self.vectors_to_codes(z) + self.size * torch.arange(self.codebooks, device=z.device)
        count = torch.bincount(codes.flatten(), minlength=self.count.numel())
        self.count.copy_(count.view_as(self.count).clamp(min=1))
