"""Attention under a mask that decays with distance."""

from collections.abc import Iterable

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, Mixer, ranks
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import grid_places, unband
from mixcodec.nn.state import State
from mixcodec.registry import nearest, whole_number

TOGETHER = 256  # queries whose scores with all keys are made and used before the next ones
MASKS = ["gaussian", "elementwise"]


@MIXERS.register("decay_attention")
class DecayAttention(Attention):
    """Attention's weights, after the softmax, times a learned mask of the distance, one for every head.

    Li et al., 2023, Toward a Deeper Understanding: RetNet Viewed through Convolution. Mask `gaussian`: a sum of `gaussians`
    bells around distance zero, two numbers each (height and width; very wide bells of heights that sum to one leave plain
    attention). Mask `elementwise`: a number for each distance up to `window`. Causal along time: as `attention`, rotary
    positions, window and state. Not causal (`gaussian` alone): all tokens of a grid of `rank` 1 or 2, by Euclidean distance,
    without rotation. Cost per token: 4 * C^2 + 2 * window * C (not causal: 2 * N * C).
    """

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        window: int = 50,
        mask: str = "gaussian",
        gaussians: int = 2,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__(channels, heads, window)
        if not isinstance(mask, str) or mask not in MASKS:
            raise ConfigError(f"mixer 'decay_attention' has no mask {mask!r}: {nearest(str(mask), MASKS)}")
        if not causal and mask == "elementwise":
            raise ConfigError("mixer 'decay_attention': mask 'elementwise' has no end without a window: take 'gaussian'")
        whole_number("mixer 'decay_attention': gaussians", gaussians, 1, 64)
        self.causal, self.grid_ranks, self.mask = causal, ranks("decay_attention", causal, rank), mask
        self.growth = "linear" if causal else "quadratic"
        if mask == "elementwise":
            self.table = torch.nn.Parameter(torch.ones(heads, window + 1))
        else:
            self.height = torch.nn.Parameter(torch.full((heads, gaussians), 1 / gaussians))
            self.log_width = torch.nn.Parameter(torch.linspace(1, 4, heads * gaussians).reshape(heads, gaussians))

    def decay(self, square: torch.Tensor) -> torch.Tensor:
        """The Gaussian mask (H, ..) at squared distances (..)."""
        widths = self.log_width.float().exp().unflatten(0, (-1, *[1] * square.ndim))
        heights = self.height.float().unflatten(0, (-1, *[1] * square.ndim))
        return (heights * (-square[..., None] / (2 * widths.square())).exp()).sum(-1)

    def initial_state(self, batch: int) -> State:
        return super().initial_state(batch) if self.causal else Mixer.initial_state(self, batch)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not self.causal:
            return Mixer.step(self, x, state)
        queries, keys, values, behind, allowed, keep = self._look(x, state)
        near = behind.clamp(0, self.window)
        decay = self.table[:, near] if self.mask == "elementwise" else self.decay(near.float().square())
        y = self._attend(queries, keys, values, decay, FAR * (1 - allowed))
        return self.out(unband(y, x.shape[0], x.shape[1])), keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.causal:
            return super().forward(x)
        places = grid_places(x.shape[1:-1]).to(x.device)
        q, k, v = (self._split(part) for part in self.qkv(x.flatten(1, -2)).chunk(3, -1))
        table = self.decay(places.square().sum(-1).float()).unflatten(1, x.shape[1:-1])  # (H, *grid): of what lies so far apart
        every, parts = torch.zeros((), device=x.device), []
        for some, at in self._together(q, places):
            apart = (at[:, None] - places[None]).abs().unbind(-1)
            parts.append(self._attend(some, k, v, table[(slice(None), *apart)], every))
        return self.out(torch.cat(parts, 1).reshape(x.shape))

    def _together(self, q: torch.Tensor, places: torch.Tensor) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """TOGETHER queries (B, H, ., D) and their places, and the next ones; all at once in an exported graph, without a loop."""
        if torch.compiler.is_exporting():
            return [(q, places)]
        return zip(q.split(TOGETHER, 2), places.split(TOGETHER), strict=True)

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = (q @ k.mT * q.shape[-1] ** -0.5 + mask.to(q.dtype)).softmax(-1) * decay.to(q.dtype)
        return (scores @ v).transpose(1, 2).flatten(2)
