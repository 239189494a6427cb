"""No codebook at all: each of a few numbers is bounded and rounded."""

import math
from collections.abc import Sequence

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers.projected import Projected

SLACK = 1e-3  # of the bound, so that the outermost levels are reached
MOST = 1 << 20  # codes
UNIFORM = 0.8  # tanh(0.8 g) of a normal g is as good as uniform


@QUANTIZERS.register("fsq")
class Fsq(Projected):
    """Projects z (B, T, C) to as many numbers as there are `levels`, rounds number i to levels[i] steps, projects back.

    Mentzer et al., 2023, Finite Scalar Quantization: VQ-VAE Made Simple. The bound is a tanh; the codebook is the grid of
    all combinations, so it cannot collapse and needs no loss. A code is a number in mixed radix, its first digit the
    least. Levels of a `residual` over it bring their own scale: the projections of each, which `start` fits to what the
    levels before it left. With `group_residual` of as many groups as codebooks it is grouped FSQ (GFSQ).
    """

    codebooks = 1

    bound: torch.Tensor
    offset: torch.Tensor
    shift: torch.Tensor
    middle: torch.Tensor
    place: torch.Tensor
    steps: torch.Tensor

    def __init__(self, channels: int, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        whole = isinstance(levels, Sequence) and all(type(n) is int and n >= 3 for n in levels)
        if not whole or not levels or math.prod(levels) > MOST:
            rule = f"must be a list of whole numbers from 3 up whose product is at most {MOST}"
            raise ConfigError(f"quantizer 'fsq': levels is {levels!r}, but {rule}")
        super().__init__(channels, len(levels))
        self.size = math.prod(levels)
        steps = torch.tensor(levels)
        bound = (steps - 1) * (1 + SLACK) / 2
        offset = torch.where(steps % 2 == 0, 0.5, 0.0)
        place = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
        tables = {"bound": bound, "offset": offset, "shift": torch.atanh(offset / bound), "middle": steps // 2}
        for name, table in (tables | {"place": place, "steps": steps}).items():
            self.register_buffer(name, table, persistent=False)
        self.register_buffer("count", torch.ones(self.size))

    def _inside(self, z: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(self.enter(z) + self.shift) * self.bound - self.offset) / self.middle

    def _choose(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        level = (x * self.middle).round()
        digits = (level + self.middle).long().clamp(min=0)  # of what is no number, too, there is a code
        return (digits * self.place).sum(-1, keepdim=True), level / self.middle

    def _stands_for(self, codes: torch.Tensor) -> torch.Tensor:
        digits = codes // self.place % self.steps
        return (digits - self.middle) / self.middle

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Principal components of z (M, C), scaled to use all levels about equally; back by least squares."""
        self._spread(z, UNIFORM, -self.shift)
        self._fit_leave(z)
        self._count_anew(z)
