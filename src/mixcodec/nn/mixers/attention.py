"""Causal attention over a sliding window, and rotary positions."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import MIXERS, Mixer, always_causal, on_a_line
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import band, band_size, unband
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

Look = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, State]
WHY = "its window is of the tokens before; take 'mixed_span', whose window lies around a token, or 'global_attention'"


def rotate(x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of x (.., T, D) at integer `position` (T,).

    Su et al., 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding.
    """
    half = x.shape[-1] // 2
    speed = 1000.0 ** -(torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angle = position[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def rotate_places(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The same of x (.., T, D) at places (T, rank) of a grid: an equal part of D is rotated by each coordinate.

    Heo et al., 2024, Rotary Position Embedding for Vision Transformer, by axes.
    """
    places = places.to(x.device)
    return torch.cat([rotate(part, places[:, i]) for i, part in enumerate(x.chunk(places.shape[1], -1))], -1)


class Recent(NamedTuple):
    """A block's queries (B, T, ..), the keys and values that they may look back at (B, past + T, ..), how far behind a query
    a key is (T, past + T), which keys are there (B, past + T), and the state after them. A long block comes as bands: T is
    then a band's length and B counts all bands; `size` is for cutting what else belongs to the queries.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    behind: torch.Tensor
    real: torch.Tensor
    size: int
    keep: State


def no_past(like: torch.Tensor, batch: int, past: int, keys: int, values: int) -> State:
    """The state of `look_back` before the first token, for keys and values of so many channels."""
    sizes = {"key": keys, "value": values}
    return {name: like.new_zeros(batch, past, size) for name, size in sizes.items()} | {"real": like.new_zeros(batch, past)}


def look_back(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, state: State, past: int) -> Recent:
    """What the next tokens' queries, keys and values (B, T, C) see together with the `past` tokens in the state."""
    length = q.shape[1]
    k = torch.cat([state["key"].to(k.dtype), k], 1)
    v = torch.cat([state["value"].to(v.dtype), v], 1)
    real = torch.cat([state["real"].to(q.dtype), torch.ones_like(q[..., 0])], 1)
    keep = {"key": k[:, -past:], "value": v[:, -past:], "real": real[:, -past:]}
    size = band_size(length, past)
    q, k, v, real = band(q, 0, size), *(band(part, past, size) for part in (k, v, real))
    key_at = torch.arange(k.shape[1], device=q.device)
    return Recent(q, k, v, key_at[past:, None] - key_at[None, :], real, size, keep)


@MIXERS.register("attention")
class Attention(Mixer):
    """Multi-head attention in which a token sees itself and the `window` tokens before it, with rotary positions.

    Vaswani et al., 2017, Attention Is All You Need; Beltagy et al., 2020, Longformer, for the window. (B, T, C), causal.
    Cost per token: 4 * C^2 + 2 * window * C (blocks much longer than the window are done band by band). State: keys and
    values of the last `window` tokens, and which of them are real. The keys are kept unrotated: rotary scores depend on
    distance alone, so positions may be counted from the start of every band.
    """

    causal = True
    grid_ranks: tuple[int, ...] = (1,)
    values = "qkv"

    def __init__(self, channels: int, heads: int = 4, window: int = 50, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        always_causal("attention", causal, WHY)
        on_a_line("attention", rank, WHY)
        whole_number("mixer 'attention': heads", heads)
        whole_number("mixer 'attention': window", window)
        if channels % (2 * heads):
            raise ConfigError(f"mixer 'attention': channels ({channels}) must divide by twice the heads ({heads})")
        self.channels, self.heads, self.window = channels, heads, window
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def initial_state(self, batch: int) -> State:
        return no_past(self.out.weight, batch, self.window, self.channels, self.channels)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        queries, keys, values, _, allowed, keep = self._look(x, state)
        mask = FAR * (1 - allowed)  # a number, not a bool: its exported graph is much faster
        y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(unband(y.transpose(1, 2).flatten(2), x.shape[0], x.shape[1])), keep

    def _look(self, x: torch.Tensor, state: State) -> Look:
        """Rotated queries (B, H, T, D) and keys, values (B, H, window + T, D), how far a key is behind a query (T, window + T),
        1 where it may be seen (B, 1, T, window + T), and the state after them. A long block comes as bands: T is then a
        band's length and B counts all bands.
        """
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v, behind, real, _, keep = look_back(q, k, v, state, self.window)
        key_at = torch.arange(k.shape[1], device=x.device)
        seen = ((behind >= 0) & (behind <= self.window)).to(q.dtype)
        queries, keys = rotate(self._split(q), key_at[self.window :]), rotate(self._split(k), key_at)
        return queries, keys, self._split(v), behind, seen * real[:, None, None], keep

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
