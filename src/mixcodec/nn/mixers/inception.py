"""Channels split into paths of high and of low frequency."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, Export, TwoForms, at_layer, kernel_size, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import Depthwise, Maximum
from mixcodec.nn.mixers.pooling import POOL, Pooling
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import share, whole_number


def attend_pooled(attention: Attention, x: torch.Tensor, pool: int) -> torch.Tensor:
    """Every token of x (B, *grid, C) attends to all, as means of `pool` tokens an axis, which are then spread out again."""
    grid = x.shape[1:-1]
    dense = x.movedim(-1, 1)
    dense = dense.float() if x.dtype == torch.bfloat16 else dense  # torch has no pooling of rank 3 in bfloat16
    means = POOL[len(grid)](dense, pool, ceil_mode=True, count_include_pad=False).movedim(1, -1).to(x.dtype)
    q, k, v = (split_heads(part, attention.heads).transpose(1, 2) for part in attention.qkv(means.flatten(1, -2)).chunk(3, -1))
    y = attention.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).view_as(means)
    for axis, n in enumerate(grid, 1):
        y = y.repeat_interleave(pool, axis).narrow(axis, 0, n)
    return y


@MIXERS.register("inception")
class Inception(TwoForms):
    """Some channels are pooled by their maximum, some convolved, the others averaged and attended to; a convolution fuses them.

    Si et al., 2022, Inception Transformer (iFormer). The first two paths pass high frequencies, the third low ones. Its
    share of the channels grows over the layers of a stack from `low_first` to `low_last`, as the stack says which `layer` of how
    many it is. (B, *grid, C) of `rank` 1 or 2: attention of all means of `pool` tokens an axis, quadratic in their number.
    Causal along time: the mean of the last `pool` tokens, attention over a `window` of them. Cost per token: about
    (3 - 3 * l + 5 * l^2) * C^2 + (3 - 2 * l) * C * kernel^rank + 2 * window * l * C with a low share l (not causal: 5 * l^2
    is l^2 + 4 * l^2 / pool^rank, and the last part 2 * l * C * means / pool^rank). State: the last kernel - 1 tokens of the
    maximum and of both convolutions, pool - 1 of the mean, the attention's keys and values of `window` tokens, and which are
    real.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 2,
        kernel: int = 3,
        pool: int = 2,
        window: int = 50,
        low_first: float = 0.25,
        low_last: float = 0.75,
        layer: int = 0,
        layers: int = 1,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("inception", causal, rank)
        kernel_size("inception", kernel, causal)
        whole_number("mixer 'inception': pool", pool, 2, 64)
        whole_number("mixer 'inception': heads", heads)
        at_layer("inception", layer, layers)
        self.causal, self.pool = causal, pool
        self.growth = "linear" if causal else "quadratic"
        if rank == 1:
            self.exports = Export("one", "torch takes the length of a line whose maximum it pools for fixed")
        first, last = share("mixer 'inception': low_first", low_first), share("mixer 'inception': low_last", low_last)
        low = first + (last - first) * layer / max(1, layers - 1)
        attended = max(1, round(low * channels / (2 * heads))) * 2 * heads
        if first > last or not 0 < attended < channels - 1 or (channels - attended) % 2:
            raise ConfigError(
                f"mixer 'inception': of {channels} channels {attended} would go to {heads} heads, the others in two halves: "
                "set low_first <= low_last between 0 and 1, and heads so that this is possible"
            )
        part = (channels - attended) // 2
        self.sizes = [part, part, attended]
        hidden = 4 * part + attended
        self.maximum = Maximum(part, kernel, causal)
        self.raise_maximum = torch.nn.Linear(part, 2 * part)
        self.raise_convolution = torch.nn.Linear(part, 2 * part, bias=False)
        self.convolution = Depthwise(2 * part, kernel, causal, rank)
        self.mean = Pooling(attended, pool) if causal else None
        self.attention = Attention(attended, heads, window)
        self.fuse = Depthwise(hidden, kernel, causal, rank)
        self.out = torch.nn.Linear(hidden, channels)

    def start(self, batch: int) -> State:
        parts = {name: getattr(self, name) for name in ("maximum", "convolution", "mean", "attention", "fuse")}
        states = {name: part.initial_state(batch) for name, part in parts.items()}
        return {name: t for prefix, state in states.items() for name, t in scoped(prefix, state).items()}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        largest, convolved, attended = x.split(self.sizes, -1)
        after: State = {}
        largest, new = self.maximum.step(largest, inside("maximum", state))
        after |= scoped("maximum", new)
        convolved, new = self.convolution.step(self.raise_convolution(convolved), inside("convolution", state))
        after |= scoped("convolution", new)
        if self.mean:
            mean, new = self.mean.step(attended, inside("mean", state))
            after |= scoped("mean", new)
            attended, new = self.attention.step(mean + attended, inside("attention", state))  # it is the mean less the token
            after |= scoped("attention", new)
        else:
            attended = attend_pooled(self.attention, attended, self.pool)
        y = torch.cat([F.gelu(self.raise_maximum(largest)), F.gelu(convolved), attended], -1)
        fused, new = self.fuse.step(y, inside("fuse", state))
        return self.out(y + fused), after | scoped("fuse", new)
