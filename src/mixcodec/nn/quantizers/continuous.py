"""The controls: bottlenecks that do not quantize. What is stored is fine steps of each number, too fine to matter."""

import math

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.processes import most_of_processes
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.projected import in_float32, principal_axes, upright
from mixcodec.nn.quantizers.use import count_use, perplexity_share
from mixcodec.registry import whole_number


class Stored(Quantizer):
    """Numbers (..., K) as whole numbers: number k in `size` even steps from middle - reach to middle + reach."""

    middle: torch.Tensor
    reach: torch.Tensor
    count: torch.Tensor

    def __init__(self, numbers: int, size: int) -> None:
        super().__init__()
        self.codebooks, self.size = numbers, size
        self.register_buffer("middle", torch.zeros(numbers))
        self.register_buffer("reach", torch.full((numbers,), 8.0))
        self.register_buffer("count", torch.ones(numbers, size))

    def _store(self, x: torch.Tensor) -> torch.Tensor:
        step = ((x - self.middle) / self.reach).nan_to_num().clamp(-1, 1)
        return ((step + 1) * ((self.size - 1) / 2)).round().long()

    def _read(self, codes: torch.Tensor) -> torch.Tensor:
        """Numbers (..., k) of codes (..., k)."""
        k = codes.shape[-1]
        return (codes * (2 / (self.size - 1)) - 1) * self.reach[:k] + self.middle[:k]

    def _widen(self, x: torch.Tensor) -> None:
        """Widens the reach to all processes' numbers (M, K), those that are none not counted."""
        far = (x - self.middle).abs()
        far = torch.where(far.isfinite(), far, 0.0)
        most = far.amax(0) if len(far) else torch.zeros_like(self.reach)
        most_of_processes(most)
        self.reach.copy_(torch.maximum(self.reach, most))

    def _fit(self, x: torch.Tensor) -> None:
        """Sets middle and reach to numbers (M, K), a quarter to spare, and the counts to their codes."""
        self.middle.copy_((x.amax(0) + x.amin(0)) / 2)
        self.reach.copy_((1.25 * (x - self.middle).abs().amax(0)).clamp(min=1e-6))
        codes = self._store(x)
        for row, code in zip(self.count, codes.T, strict=True):
            row.copy_(torch.bincount(code, minlength=self.size).clamp(min=1))

    def _kept(self, codes: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
        books = torch.arange(self.codebooks, device=codes.device)
        kept = torch.ones_like(codes, dtype=torch.bool) if active is None else active[:, None, None] > books
        return kept.expand_as(codes)

    def _learn(self, x: torch.Tensor, codes: torch.Tensor, kept: torch.Tensor) -> None:
        if self.training and torch.is_grad_enabled():
            with torch.no_grad():
                count_use(self.count, codes, kept)
                self._widen(x.detach()[kept[..., 0]])


@QUANTIZERS.register("none")
class NoBottleneck(Stored):
    """The vectors (B, T, C) themselves: what a codec could do if its latents were free, which tells what a quantizer costs.

    Each channel is a codebook. In training nothing is rounded; the range that is stored follows what is seen. In evaluation a
    channel is rounded to `size` steps of that range (of 4096: 75 dB below its ends). The first k channels are a valid
    rate, the others then stand still at the middle of their range.
    """

    def __init__(self, channels: int, size: int = 4096) -> None:
        super().__init__(channels, whole_number("quantizer 'none': size", size, 2))

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            codes = self._store(z)
            kept = self._kept(codes, active)
            vectors = z if self.training else z + (self._read(codes) - z).detach()
            vectors = torch.where(kept, vectors, self.middle) * kept[..., :1]
            self._learn(z, codes, kept)
            return Quantized(codes, vectors, z.new_zeros(()), perplexity_share(self.count))

    @in_float32
    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self._store(z)

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        k = codes.shape[-1]
        return torch.cat([self._read(codes), self.middle[k:].expand(*codes.shape[:-1], -1)], -1)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        self._fit(z)


@QUANTIZERS.register("vae")
class Vae(Stored):
    """A Gaussian posterior of `dim` numbers a frame, held to a standard normal prior by `kl` times the divergence, in nat.

    z (B, T, C) gives codes (B, T, `dim`). Caillon and Esling, 2021, RAVE: A variational autoencoder for fast and high-quality
    neural audio synthesis. Training draws from the posterior; in evaluation its mean is what is coded, so encoding is
    deterministic. `truncate` then finds the principal axes of the means: number k of a frame is how far it lies along the
    k-th, so the first k numbers are the best k, and `dimensions` says how many hold a given share of the variance. Numbers
    that are left out stand at their mean. A number is stored in `size` steps: a step of a number that the posterior fills is
    far below what it is unsure of.
    """

    axes: torch.Tensor
    mean: torch.Tensor
    variances: torch.Tensor

    def __init__(self, channels: int, dim: int = 16, kl: float = 1e-3, size: int = 256) -> None:
        whole_number("quantizer 'vae': dim", dim)
        if isinstance(kl, bool) or not isinstance(kl, int | float) or not 0 <= kl < float("inf"):
            raise ConfigError(f"quantizer 'vae': kl is {kl!r}, but must be a number from 0 up")
        super().__init__(dim, whole_number("quantizer 'vae': size", size, 2))
        self.kl = kl
        self.enter = torch.nn.Linear(channels, 2 * dim)
        self.leave = torch.nn.Linear(dim, channels)
        self.register_buffer("axes", torch.eye(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variances", torch.ones(dim))

    def _posterior(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and logarithms of the variances, (..., dim) each."""
        mean, log_variance = self.enter(z).chunk(2, -1)
        return mean, log_variance.clamp(-14, 6)

    def _along(self, mean: torch.Tensor) -> torch.Tensor:
        return (mean - self.mean) @ self.axes

    def _back(self, along: torch.Tensor) -> torch.Tensor:
        """Of the first k numbers (..., k) along the axes: (..., dim)."""
        return along @ self.axes.T[: along.shape[-1]] + self.mean

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            mean, log_variance = self._posterior(z.float())
            along = self._along(mean)
            codes = self._store(along)
            kept = self._kept(codes, active)
            some = kept[..., 0]
            if self.training:
                drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                x = self._back(self._along(drawn) * kept)
            else:
                x = self._back((along + (self._read(codes) - along).detach()) * kept)
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
            loss = self.kl * (divergence * some).sum() / some.sum().clamp(min=1)
            self._learn(along, codes, kept)
            return Quantized(codes, self.leave(x) * some[..., None], loss, perplexity_share(self.count))

    @in_float32
    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self._store(self._along(self._posterior(z)[0]))

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        return self.leave(self._back(self._read(codes)))

    @torch.no_grad()
    def truncate(self, z: torch.Tensor) -> None:
        """Turns the numbers that are coded to the principal axes of the posterior means of z (M, C); no weight changes."""
        mean = self._posterior(z)[0]
        self.mean.copy_(mean.mean(0))
        centred = (mean - self.mean).double()
        found, axes = torch.linalg.eigh(centred.T @ centred / len(z))
        self.axes.copy_(upright(axes.flip(1)))
        self.variances.copy_(found.flip(0).clamp(min=0))
        self._fit(self._along(mean))

    def dimensions(self, fidelity: float) -> int:
        """The least number of axes that hold a share `fidelity` of the variance of the means that `truncate` saw."""
        if not 0 < fidelity <= 1:
            raise ConfigError(f"quantizer 'vae': fidelity is {fidelity!r}, but must be a share above 0 and at most 1")
        share = self.variances.double().cumsum(0) / self.variances.double().sum().clamp(min=1e-12)
        return min(self.codebooks, int((share < fidelity - 1e-9).sum()) + 1)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal components of z (M, C) with variance 1 as means, a hundredth of that as posterior variance; `truncate`."""
        mean, axes = principal_axes(z, self.codebooks)
        scale = ((z - mean) @ axes).std(0).clamp(min=1e-4)
        self.enter.weight.zero_()
        self.enter.weight[: self.codebooks].copy_((axes / scale).T)
        self.enter.bias[: self.codebooks].copy_(-(axes / scale).T @ mean)
        self.enter.bias[self.codebooks :].fill_(math.log(0.01))
        self.leave.weight.copy_(axes * scale)
        self.leave.bias.copy_(mean)
        self.truncate(z)
