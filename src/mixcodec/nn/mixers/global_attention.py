"""Attention of every token to all, and near to or far from it by layer."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.attention import Attention, rotate_places
from mixcodec.nn.mixers.base import COUNTED, MIXERS, Export, Mixer, at_layer, divides, never_causal, ranks
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import grid_places, merge, partition, window_places
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


def attend_all(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, more: torch.Tensor | None = None) -> torch.Tensor:
    """Attention of the tokens of q, k, v (B, *grid, C) to all, rotated by places, and to keys and values `more` (2, R, C)."""
    shape, places = q.shape, grid_places(q.shape[1:-1])
    q, k, v = (split_heads(part.flatten(1, -2), heads).transpose(1, 2) for part in (q, k, v))  # (B, H, N, D)
    q, k = rotate_places(q, places), rotate_places(k, places)
    if more is not None:
        first = split_heads(more, heads).transpose(1, 2).expand(q.shape[0], -1, -1, -1, -1)  # (B, 2, H, R, D)
        k, v = torch.cat([first[:, 0], k], 2), torch.cat([first[:, 1], v], 2)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(shape)


def attend_near(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, window: int) -> torch.Tensor:
    """Attention of the tokens of q, k, v (B, *grid, C) to those at most `window` places away on every axis."""
    batch, grid = q.shape[0], q.shape[1:-1]
    at, of = window_places(window, len(grid)), window_places(window, len(grid), window)
    near = (at[:, None] - of[None]).abs().amax(-1) <= window
    real = partition(torch.ones_like(q[:1, ..., :1]), window, overlap=window)[..., 0].bool()  # (1, N, keys)
    allowed = near.to(q.device) & real[:, :, None, None]
    parts = (partition(q, window), partition(k, window, overlap=window), partition(v, window, overlap=window))
    q, k, v = (split_heads(part, heads).transpose(2, 3).flatten(0, 1) for part in parts)  # (B * N, H, .., D)
    mask = (FAR * (~allowed).to(q.dtype)).expand(batch, -1, -1, -1, -1).flatten(0, 1)
    y = F.scaled_dot_product_attention(rotate_places(q, at), rotate_places(k, of), v, attn_mask=mask)
    return merge(y.transpose(1, 2).flatten(-2).unflatten(0, (batch, -1)), grid, window)


@MIXERS.register("global_attention")
class GlobalAttention(Mixer):
    """Multi-head attention of every token to all tokens of the grid, with rotary positions, and to `registers`.

    Vaswani et al., 2017, Attention Is All You Need; registers: Darcet et al., 2023, Vision Transformers Need Registers. A
    register is a learned key and value without a place, somewhere to look where no token matters. (B, *grid, C), `rank` 1,
    2 or 3, one part of a head's channels rotated along each axis. Cost per token: 4 * C^2 + 2 * (N + registers) * C, so
    quadratic in the number N of tokens.
    """

    values = "qkv"
    growth = "quadratic"

    def __init__(self, channels: int, heads: int = 4, registers: int = 4, rank: int = 1, causal: bool = False) -> None:
        super().__init__()
        never_causal(
            "global_attention", causal, "no state of constant size holds all tokens; take 'attention' with a wide window"
        )
        self.causal, self.grid_ranks = causal, ranks("global_attention", causal, rank, 3)
        rotary_heads("global_attention", channels, heads, rank)
        whole_number("mixer 'global_attention': registers", registers, 0)
        self.heads = heads
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.registers = torch.nn.Parameter(torch.randn(2, registers, channels)) if registers else None
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(attend_all(q, k, v, self.heads, self.registers))


@MIXERS.register("mixed_span")
class MixedSpan(Attention):
    """Attention that looks far in a few layers of a stack and only near in all others.

    Zhang et al., 2023, Efficient Long-Range Transformers: You Need to Attend More, but Not Necessarily at Every Layer
    (MASFormer). The stack says which `layer` (from 0) of how many `layers` a mixer is; it looks far if that is among `far`,
    where -1 is the last. Causal: as `attention`, with a window of `span` tokens if far (a stream's state must end somewhere),
    else of `window`. Not causal: (B, *grid, C) of `rank` 1 or 2, far is all tokens, near those at most `window` places away on
    every axis; rotary positions along each. Cost per token: 4 * C^2, and 2 * C times the number of tokens in sight.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        window: int = 16,
        span: int = 256,
        far: tuple[int, ...] | list[int] = (0,),
        layer: int = 0,
        layers: int = 1,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        whole_number("mixer 'mixed_span': window", window)
        whole_number("mixer 'mixed_span': span", span, window)
        if not isinstance(far, list | tuple):
            raise ConfigError(f"mixer 'mixed_span': far is {far!r}, but must be a list of layers, such as [0, -1]")
        at_layer("mixed_span", layer, layers)
        for place in far:
            whole_number("mixer 'mixed_span': far", place, -layers, layers - 1)
        looks_far = any(place % layers == layer for place in far)
        super().__init__(channels, heads, span if looks_far and causal else window)
        self.causal, self.grid_ranks = causal, ranks("mixed_span", causal, rank)
        rotary_heads("mixed_span", channels, heads, rank)
        self.looks_far = looks_far
        self.growth = "quadratic" if looks_far and not causal else "linear"
        self.exports = Export() if looks_far else COUNTED

    def initial_state(self, batch: int) -> State:
        return super().initial_state(batch) if self.causal else Mixer.initial_state(self, batch)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return super().step(x, state) if self.causal else Mixer.step(self, x, state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.causal:
            return super().forward(x)
        q, k, v = self.qkv(x).chunk(3, -1)
        y = attend_all(q, k, v, self.heads) if self.looks_far else attend_near(q, k, v, self.heads, self.window)
        return self.out(y)


def rotary_heads(kind: str, channels: int, heads: int, rank: int) -> None:
    """Raises ConfigError where a head's channels can't be rotated in pairs along each of `rank` axes."""
    size = divides(kind, channels, heads)
    if size % (2 * rank):
        raise ConfigError(f"mixer {kind!r}: channels / heads ({size}) must divide by twice the rank ({rank})")
