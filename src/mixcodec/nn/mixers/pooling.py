"""Average pooling."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import MIXERS, Mixer
from mixcodec.nn.mixers.parts import Placed
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@MIXERS.register("pooling")
class Pooling(Placed, Mixer):
    """Average of the neighbours less the token itself; it has no parameters and maps constants to zero.

    Yu et al., 2022, MetaFormer Is Actually What You Need for Vision. Causal: the average runs over the last `size`
    tokens (of a grid of rank 1); else over a centred window of `size` (odd) on every axis, for grids of any rank. Places
    outside the signal don't count. Cost per token: C * size^rank. State of the causal form: the last size - 1 tokens and
    which of them are real.
    """

    linear = True

    def __init__(self, channels: int, size: int = 3, causal: bool = True) -> None:
        super().__init__()
        whole_number("mixer 'pooling': size", size, 2)
        if not (causal or size % 2):
            raise ConfigError(f"mixer 'pooling': size must be odd if it is not causal, not {size}")
        self.channels, self.size, self.causal = channels, size, causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)

    def initial_state(self, batch: int) -> State:
        if not self.causal:
            return super().initial_state(batch)
        return {"past": self.zeros(batch, self.size - 1, self.channels), "real": self.zeros(batch, self.size - 1, 1)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not self.causal:
            return super().step(x, state)
        seen = torch.cat([state["past"].to(x), x], 1)
        real = torch.cat([state["real"].to(x), torch.ones_like(x[..., :1])], 1)
        length = x.shape[1]
        total = sum(seen[:, i : i + length] for i in range(self.size))
        count = sum(real[:, i : i + length] for i in range(self.size))
        keep = self.size - 1
        return total / count - x, {"past": seen[:, -keep:], "real": real[:, -keep:]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.causal:
            return super().forward(x)
        dense = x.movedim(-1, 1)
        dense = dense.float() if x.dtype == torch.bfloat16 else dense  # torch has no pooling of rank 3 in bfloat16
        return self.means(dense).movedim(1, -1).to(x.dtype) - x

    def means(self, dense: torch.Tensor) -> torch.Tensor:
        """The average around every place of (B, C, *grid)."""
        grid = dense.shape[2:]
        pool, pad = POOL[len(grid)], self.size // 2
        if min(grid) >= self.size:
            return pool(dense, self.size, 1, pad, count_include_pad=False)
        real = torch.ones_like(dense[:1, :1])  # torch has no window that is wider than a volume
        total, count = (pool(F.pad(part, [pad] * 2 * len(grid)), self.size, 1) for part in (dense, real))
        return total / count
