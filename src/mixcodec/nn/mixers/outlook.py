"""Outlook attention."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, Mixer, divides, kernel_size, never_causal, ranks
from mixcodec.registry import whole_number


@MIXERS.register("outlook")
class Outlook(Mixer):
    """Every centre token predicts, by one linear map, how its neighbours attend to each other; the results are added up.

    Yuan et al., 2021, VOLO: Vision Outlooker for Visual Recognition. With K = kernel^rank places in a window, a centre gives
    K x K weights a head (softmax over the values' places), no query meets a key, and each token sums what all the windows
    around it say. Centres lie `stride` apart, and see the mean of `stride` tokens. (B, *grid, C), `rank` 1 or 2. Cost per
    token: 2 * C^2, and a centre heads * K^2 * C + K^2 * C.
    """

    values = "value"

    def __init__(
        self, channels: int, heads: int = 2, kernel: int = 3, stride: int = 1, rank: int = 1, causal: bool = False
    ) -> None:
        super().__init__()
        never_causal("outlook", causal, "a window's centre decides what the tokens before it receive; take 'attention'")
        self.causal, self.grid_ranks = causal, ranks("outlook", causal, rank)
        self.size = divides("outlook", channels, heads)
        kernel_size("outlook", kernel, causal)
        whole_number("mixer 'outlook': stride", stride, 1, kernel)
        self.heads, self.places = heads, kernel**rank
        self.kernel, self.stride, self.padding = (
            (*[n] * rank, *[first] * (2 - rank)) for n, first in self._sizes(kernel, stride)
        )
        self.value = torch.nn.Linear(channels, channels, bias=False)
        self.weights = torch.nn.Linear(channels, self.places**2 * heads)
        self.out = torch.nn.Linear(channels, channels)

    @staticmethod
    def _sizes(kernel: int, stride: int) -> list[tuple[int, int]]:
        """Kernel, stride and padding on the grid's axes, and on an axis that a grid of rank 1 hasn't."""
        return [(kernel, 1), (stride, 1), (kernel // 2, 0)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plane = x if x.ndim == 4 else x[:, :, None]
        grid = plane.shape[1:3]
        values = F.unfold(self.value(plane).movedim(-1, 1), self.kernel, padding=self.padding, stride=self.stride)
        values = values.unflatten(1, (self.heads, self.size, self.places)).movedim(-1, 2).mT  # (B, heads, centres, K, D)
        centres = F.avg_pool2d(plane.movedim(-1, 1), self.stride, self.stride, ceil_mode=True).movedim(1, -1).flatten(1, 2)
        weights = self.weights(centres).unflatten(-1, (self.heads, self.places, self.places)).transpose(1, 2)
        y = (weights * self.size**-0.5).softmax(-1) @ values
        y = y.mT.movedim(2, -1).flatten(1, 3)  # (B, C * K, centres)
        y = F.fold(y, (grid[0], grid[1]), self.kernel, padding=self.padding, stride=self.stride)
        return self.out(y.movedim(1, -1)).reshape(x.shape)
