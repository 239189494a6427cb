"""Window attention whose keys come from wider, overlapping windows, beside attention over channels."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.attention import look_back, no_past
from mixcodec.nn.mixers.base import COUNTED, MIXERS, TwoForms, divides, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR, Depthwise, Mean
from mixcodec.nn.mixers.windows import band, merge, partition, unband, window_places
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number

SMALL = 0.01  # what the channel attention counts beside the window attention


class ChannelAttention(TwoForms):
    """Two convolutions, then every channel times a gate made by the mean of all tokens (causal: of all so far)."""

    def __init__(self, channels: int, compress: int, squeeze: int, causal: bool, rank: int) -> None:
        super().__init__()
        self.causal, self.grid_ranks = causal, (rank,)
        narrow = max(1, channels // compress)
        self.enter = Depthwise(channels, 3, causal, rank, outputs=narrow, groups=1, bias=True)
        self.leave = Depthwise(narrow, 3, causal, rank, outputs=channels, groups=1, bias=True)
        self.mean = Mean(channels, causal)
        self.down = torch.nn.Linear(channels, max(1, channels // squeeze))
        self.up = torch.nn.Linear(max(1, channels // squeeze), channels)

    def start(self, batch: int) -> State:
        state = scoped("enter", self.enter.initial_state(batch)) | scoped("leave", self.leave.initial_state(batch))
        return state | scoped("mean", self.mean.initial_state(batch))

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, enter = self.enter.step(x, inside("enter", state))
        y, leave = self.leave.step(F.gelu(y), inside("leave", state))
        mean, far = self.mean.step(y, inside("mean", state))
        y = y * torch.sigmoid(self.up(F.relu(self.down(mean))))
        return y, scoped("enter", enter) | scoped("leave", leave) | scoped("mean", far)


@MIXERS.register("overlapping")
class Overlapping(TwoForms):
    """Queries of a window look at keys of the window and of `overlap` places around it; channel attention is added.

    Chen et al., 2023, Activating More Pixels in Image Super-Resolution Transformer (HAT): its overlapping cross-attention and
    its hybrid of window and channel attention in one; with overlap 0 the windows are Swin's (Liu et al., 2021), and `shift`
    moves them. Each head adds a learned number for every distance; places outside the grid don't count. The channel branch
    (bottleneck C / compress, gate C / squeeze) counts a hundredth. (B, *grid, C), causal along time (a token sees its window
    so far and the `overlap` tokens before it) or centred on a grid of `rank` 1 or 2. Cost per token: 4 * C^2 +
    2 * (window + 2 * overlap)^rank * C + 2 * 3^rank * C^2 / compress. State: keys and values of window + overlap - 1 tokens
    and which are real, the place in the window, four tokens of the convolutions, the sum and number of all so far.
    """

    values = "qkv"
    exports = COUNTED

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        window: int = 8,
        overlap: int = 4,
        shift: int = 0,
        compress: int = 3,
        squeeze: int = 4,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("overlapping", causal, rank)
        divides("overlapping", channels, heads)
        whole_number("mixer 'overlapping': window", window, 2)
        whole_number("mixer 'overlapping': overlap", overlap, 0)
        whole_number("mixer 'overlapping': shift", shift, 0, window - 1)
        whole_number("mixer 'overlapping': compress", compress)
        whole_number("mixer 'overlapping': squeeze", squeeze)
        self.causal, self.channels, self.heads = causal, channels, heads
        self.window, self.overlap, self.shift, self.past = window, overlap, shift, window + overlap - 1
        self.qkv = torch.nn.Linear(channels, 3 * channels)
        distances = window + overlap if causal else (2 * (window + overlap) - 1) ** rank
        self.distance = torch.nn.Parameter(0.02 * torch.randn(heads, distances))
        self.out = torch.nn.Linear(channels, channels)
        self.branch = ChannelAttention(channels, compress, squeeze, causal, rank)

    def start(self, batch: int) -> State:
        state = scoped("near", no_past(self.out.weight, batch, self.past, self.channels, self.channels))
        state |= scoped("branch", self.branch.start(batch))
        return state | {"phase": torch.zeros(batch, 1, device=self.out.weight.device)}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        more, after = self.branch.mix(x, inside("branch", state))
        after = scoped("branch", after)
        if self.causal:
            y, new = self._so_far(x, state)
            after |= new
        else:
            y = self._around(x)
        return self.out(y) + SMALL * more, after

    def _attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, distance: torch.Tensor, allowed: torch.Tensor
    ) -> torch.Tensor:
        """Queries (.., Q, C) at keys (.., K, C) by `distance`, an index (Q, K), where `allowed` (.., 1, Q or 1, K)."""
        q, k, v = (split_heads(part, self.heads).transpose(-2, -3) for part in (q, k, v))
        mask = self.distance[:, distance] + FAR * (1 - allowed.to(q.dtype))
        weights = (q @ k.mT * q.shape[-1] ** -0.5 + mask).softmax(-1)
        return (weights @ v).transpose(-2, -3).flatten(-2)

    def _so_far(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        phase = state["phase"].to(x.device) + torch.arange(x.shape[1], device=x.device)
        place = phase + self.shift
        place = place - self.window * (place / self.window).floor()
        q, k, v = self.qkv(x).chunk(3, -1)
        recent = look_back(q, k, v, inside("near", state), self.past)
        reach = band(place, 0, recent.size)[:, :, None] + self.overlap
        seen = (recent.behind >= 0) & (recent.behind <= reach)
        allowed = seen.to(x.dtype) * recent.real[:, None]
        distance = recent.behind.clamp(0, self.past)
        y = self._attend(recent.queries, recent.keys, recent.values, distance, allowed[:, None])
        last = phase[:, -1:] + 1
        last = last - self.window * (last / self.window).floor()
        return unband(y, x.shape[0], x.shape[1]), scoped("near", recent.keep) | {"phase": last}

    def _around(self, x: torch.Tensor) -> torch.Tensor:
        grid, rank = x.shape[1:-1], x.ndim - 2
        q, k, v = self.qkv(x).chunk(3, -1)
        q = partition(q, self.window, self.shift)
        k, v, real = (partition(part, self.window, self.shift, self.overlap) for part in (k, v, torch.ones_like(x[:1, ..., :1])))
        apart = window_places(self.window, rank, self.overlap)[None] - window_places(self.window, rank)[:, None]
        index = torch.zeros_like(apart[..., 0])
        for axis in range(rank):
            index = index * (2 * self.past + 1) + apart[..., axis] + self.past
        return merge(self._attend(q, k, v, index.to(x.device), real[:, :, None, None, :, 0]), grid, self.window, self.shift)
