"""No lookup: a code is the signs of a few numbers."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.projected import Projected

MOST = 20  # bits


def entropies(x: torch.Tensor, weight: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Entropy in nat of a soft choice among all corners of {-1, 1}^D: the mean of each x's (M, D), and that of the mean choice.

    The choice is softmax(-|x - corner|^2 / temperature); its bits are independent, so the first entropy is a sum over
    them, and the mean choice is one product of two matrices: half of the bits by the other half. `weight` (M,) sums to 1.
    """
    logits = 4 * x / temperature
    bits, less = torch.sigmoid(logits), torch.sigmoid(-logits)
    each = ((F.softplus(-logits) * bits + F.softplus(logits) * less).sum(-1) * weight).sum()
    middle = x.shape[1] // 2
    upper = _joint(bits[:, :middle], less[:, :middle])
    lower = _joint(bits[:, middle:], less[:, middle:])
    mean = (upper * weight[:, None]).T @ lower
    return each, -(mean * (mean + 1e-10).log()).sum()


def _joint(bits: torch.Tensor, less: torch.Tensor) -> torch.Tensor:
    """Probability (M, 2^n) of every pattern of n independent bits (M, n), the first bit the highest."""
    joint = torch.ones_like(bits[:, :1]) if bits.shape[1] else bits.new_ones(len(bits), 1)
    for i in range(bits.shape[1]):
        joint = (joint[:, :, None] * torch.stack([less[:, i], bits[:, i]], -1)[:, None]).flatten(1)
    return joint


@QUANTIZERS.register("lfq")
class Lfq(Projected):
    """Projects z (B, T, C) to log2(size) numbers, takes their signs, projects back.

    Yu et al., 2023, Language Model Beats Diffusion - Tokenizer is Key to Visual Generation (MAGVIT-v2). A code's bits
    are the signs, the first number's the highest. The loss asks each frame to be sure of its code and all frames together
    to use every code: entropy * (mean entropy - diversity * entropy of the mean), over choices softened by `temperature`,
    and keeps numbers near -1 and 1 by `commitment`.
    """

    codebooks = 1
    place: torch.Tensor

    def __init__(
        self,
        channels: int,
        size: int = 1024,
        entropy: float = 0.1,
        diversity: float = 1.0,
        temperature: float = 0.01,
        commitment: float = 0.25,
    ) -> None:
        if type(size) is not int or not 2 <= size <= 1 << MOST or size & (size - 1):
            raise ConfigError(f"quantizer 'lfq': size is {size!r}, but must be a power of two from 2 to {1 << MOST}")
        weights = {"entropy": entropy, "diversity": diversity, "commitment": commitment}
        for name, value in weights.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ConfigError(f"quantizer 'lfq': {name} is {value!r}, but must be a number from 0 up")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
            raise ConfigError(f"quantizer 'lfq': temperature is {temperature!r}, but must be a number above 0")
        bits = size.bit_length() - 1
        super().__init__(channels, bits)
        self.size = size
        self.entropy, self.diversity, self.temperature, self.commitment = entropy, diversity, temperature, commitment
        self.register_buffer("place", 2 ** torch.arange(bits).flip(0), persistent=False)
        self.register_buffer("count", torch.ones(size))

    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bits = (x > 0).long()
        return (bits * self.place).sum(-1, keepdim=True), (2 * bits - 1).to(x)

    def _stands_for(self, codes: torch.Tensor) -> torch.Tensor:
        return (2 * (codes // self.place % 2) - 1).float()

    def _loss(self, x: torch.Tensor, chosen: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        weight = kept.flatten() / kept.sum().clamp(min=1)
        far = (x - chosen).square().mean(-1).flatten() @ weight
        each, mean = entropies(x.flatten(0, -2), weight, self.temperature)
        return self.entropy * (each - self.diversity * mean) + self.commitment * far

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal components of z (M, C), each positive as often as not; back by least squares."""
        self._spread(z, 1.0)
        self.enter.bias.sub_(self.enter(z).median(0).values)
        self._fit_leave(z)
        self._count_anew(z)
