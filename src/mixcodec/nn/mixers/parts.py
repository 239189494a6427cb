"""What several mixers are made of: a depthwise convolution, a maximum and a mean, each causal with a state or centred."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F

from mixcodec.nn.state import State

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
FAR = -1e30  # less than any token or score, and within float32 and bfloat16


class Depthwise(torch.nn.Module):
    """Depthwise convolution over (B, *grid, C) -> (B, *grid, outputs), zeros outside the signal.

    Causal (rank 1): y[t] sees x[t - (kernel - 1) * dilation - delay .. t - delay]; the state `past` holds the tokens
    before the block. Else centred, `kernel` odd, on every one of `rank` axes. Each of `groups` (C if None) groups of
    channels has its own weights, `outputs` / groups of them.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        causal: bool = True,
        rank: int = 1,
        dilation: int = 1,
        delay: int = 0,
        outputs: int | None = None,
        groups: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.kernel, self.causal, self.rank = channels, kernel, causal, rank
        self.dilation, self.delay = dilation, delay
        self.groups, outputs = groups or channels, outputs or channels
        shape = (outputs, channels // self.groups, *[kernel] * rank)
        bound = (kernel**rank * channels / self.groups) ** -0.5
        self.weight = torch.nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = torch.nn.Parameter(torch.zeros(outputs)) if bias else None

    @property
    def reach(self) -> int:
        """How many earlier tokens a causal one sees or waits for."""
        return (self.kernel - 1) * self.dilation + self.delay

    def initial_state(self, batch: int) -> State:
        return {"past": self.weight.new_zeros(batch, self.reach, self.channels)} if self.causal and self.reach else {}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The next tokens and the state after them; the centred form has none and takes the whole signal."""
        after: State = {}
        padding = 0
        if not self.causal:
            padding = self.kernel // 2 * self.dilation
        elif self.reach:
            x = torch.cat([state["past"].to(x.dtype), x], 1)
            after = {"past": x[:, -self.reach :]}
            x = x[:, : x.shape[1] - self.delay] if self.delay else x
        y = CONVOLVE[self.rank](x.movedim(-1, 1), self.taps(), self.bias, 1, padding, self.dilation, self.groups)
        return y.movedim(1, -1), after

    def taps(self) -> torch.Tensor:
        """The kernel: `weight`, or what a subclass makes of it and more weights (see `branches.py`)."""
        return self.weight


class Placed(torch.nn.Module):
    """A module without weights that moves from device to device all the same; its state begins where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.place: torch.Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)

    def zeros(self, *shape: int) -> torch.Tensor:
        """Zeros in float32 on the module's device."""
        return torch.zeros(*shape, device=self.place.device)


class Maximum(Placed):
    """Maximum over a window, (B, *grid, C) -> the same: causal over the last `size` tokens, else centred on every axis.

    Places outside the signal don't count. State of the causal form: the last size - 1 tokens and which of them are real.
    """

    def __init__(self, channels: int, size: int, causal: bool = True) -> None:
        super().__init__()
        self.channels, self.size, self.causal = channels, size, causal

    def initial_state(self, batch: int) -> State:
        if not self.causal or self.size == 1:
            return {}
        return {"past": self.zeros(batch, self.size - 1, self.channels), "real": self.zeros(batch, self.size - 1, 1)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if self.size == 1:
            return x, {}
        if not self.causal:
            pool = MAXIMUM[x.ndim - 2]
            return pool(x.movedim(-1, 1), self.size, 1, self.size // 2).movedim(1, -1), {}
        seen = torch.cat([state["past"].to(x), x], 1)
        real = torch.cat([state["real"].to(x), torch.ones_like(x[..., :1])], 1)
        keep, length = self.size - 1, x.shape[1]
        allowed = seen + FAR * (1 - real)
        y = allowed[:, keep:]
        for i in range(keep):
            y = torch.maximum(y, allowed[:, i : i + length])
        return y, {"past": seen[:, -keep:], "real": real[:, -keep:]}


class Mean(Placed):
    """Mean over the tokens: of all so far if causal, (B, T, C) -> (B, T, C), else of the whole grid, (B, 1.., C).

    State: the sum and the number of the tokens so far, in float32.
    """

    def __init__(self, channels: int, causal: bool = True) -> None:
        super().__init__()
        self.channels, self.causal = channels, causal

    def initial_state(self, batch: int) -> State:
        return {"sum": self.zeros(batch, self.channels), "count": self.zeros(batch, 1)} if self.causal else {}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not self.causal:
            return x.mean(tuple(range(1, x.ndim - 1)), keepdim=True), {}
        total = x.float().cumsum(1) + state["sum"].to(x.device)[:, None]
        count = torch.ones_like(total[..., :1]).cumsum(1) + state["count"].to(x.device)[:, None]
        return (total / count).to(x.dtype), {"sum": total[:, -1], "count": count[:, -1]}


def depthwise_list(parts: Iterable[Depthwise]) -> Sequence[Depthwise]:
    """A ModuleList that says what is in it."""
    return cast(Sequence[Depthwise], torch.nn.ModuleList(parts))
