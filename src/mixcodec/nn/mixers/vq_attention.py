"""Attention to keys of a codebook, on a moving average."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.scan import matrix_scan, scan, wide
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

LOWEST_SCORE = -60.0  # of a code under the best one: its weight stays above zero in float32


@MIXERS.register("vq_attention")
class VqAttention(TwoForms):
    """Softmax attention whose keys are quantized to `codes` vectors a head, so that values are summed by code: linear cost.

    Liu et al., 2024, LongVQ: Long Sequence Modeling with Vector Quantization on Structured Memory (the factored attention:
    Lingle, 2023, Transformer-VQ). Queries, keys and the gate come from the token plus a moving average with a learned decay a
    channel, values from the token. Keys are straight through: their gradient is that of a softmax over the codes, so the
    codebook needs no loss of its own. Not causal: all tokens of a grid of `rank` 1 or 2, averages both ways along each axis.
    Causal: all so far. (B, *grid, C). Cost per token: 5 * C^2 + 4 * codes * C; causal also
    Q * (heads * codes + C) among the Q = min(T, 64) tokens of a chunk. State: the average, and `memory` (heads,
    codes, C / heads + 1), the sums of the values of each code and their numbers.
    """

    values = "value"

    def __init__(self, channels: int, heads: int = 4, codes: int = 64, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("vq_attention", causal, rank)
        self.size = divides("vq_attention", channels, heads)
        whole_number("mixer 'vq_attention': codes", codes, 2)
        self.causal, self.channels, self.heads, self.codes = causal, channels, heads, codes
        self.speed = torch.nn.Parameter(torch.linspace(0, 4, channels))  # decays from a half to 0.98
        self.average = torch.nn.Parameter(torch.ones(channels))
        self.shared = torch.nn.Linear(channels, 3 * channels)
        self.value = torch.nn.Linear(channels, channels, bias=False)
        self.codebook = torch.nn.Parameter(0.5 * torch.randn(heads, codes, self.size))
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> State:
        like = self.codebook
        memory = torch.zeros(batch, self.heads, self.codes, self.size + 1, device=like.device)
        return {"average": torch.zeros(batch, self.channels, device=like.device), "memory": memory}

    def quantize(self, keys: torch.Tensor) -> torch.Tensor:
        """(.., heads, D) -> (.., heads, codes): one at the nearest code, else zero; its gradient is a softmax's."""
        book = wide(self.codebook)
        near = 2 * torch.einsum("...hd,hcd->...hc", keys, book) - book.square().sum(-1)
        soft = near.softmax(-1)
        hard = (near.argmax(-1, keepdim=True) == torch.arange(self.codes, device=keys.device)).to(soft.dtype)
        return hard + (soft - soft.detach())

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        average, after = self._average(wide(x), state)
        q, k, gate = self.shared(x + (wide(self.average) * average).to(x.dtype)).chunk(3, -1)
        q, k, v = (split_heads(wide(part), self.heads).flatten(1, -3) for part in (q, k, self.value(x)))
        scores = torch.einsum("bthd,hcd->bthc", q, wide(self.codebook)) * self.size**-0.5
        asked = (scores - scores.amax(-1, keepdim=True)).clamp(min=LOWEST_SCORE).exp()
        found = self.quantize(k)
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
        if self.causal:
            y, after["memory"] = matrix_scan(asked, found, v, torch.zeros_like(v[..., :1]), state["memory"])
        else:
            y = torch.einsum("bthc,bhcv->bthv", asked, torch.einsum("bthc,bthv->bhcv", found, v))
        y = (y[..., :-1] / y[..., -1:]).flatten(-2).to(x.dtype).reshape(x.shape)
        return self.out(y * F.silu(gate)), after

    def _average(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """a_t = d * a_(t-1) + (1 - d) * x_t along time; not causal: the mean of it both ways along every axis."""
        speed = wide(self.speed)

        def run(x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return scan(F.logsigmoid(speed).expand(*x.shape[:2], *[1] * (x.ndim - 3), -1), torch.sigmoid(-speed) * x, start)

        if self.causal:
            y, end = run(x, state["average"])
            return y, {"average": end}
        total = torch.zeros_like(x)
        for axis in range(1, x.ndim - 1):
            line = x.movedim(axis, 1)
            for way in (line, line.flip(1)):
                y = run(way, torch.zeros_like(way[:, 0]))[0]
                total = total + (y if way is line else y.flip(1)).movedim(1, axis)
        return total / (2 * (x.ndim - 2)), {}
