"""Gated linear attention."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides
from mixcodec.nn.mixers.heads import head_norm, split_heads
from mixcodec.nn.mixers.scan import LOWEST, both_ways, matrix_scan
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

SOFTEN = 16  # gates are taken to the power 1 / 16, so that they begin close to one


def soft_gate(x: torch.Tensor) -> torch.Tensor:
    """log(sigmoid(x)) / 16, at least LOWEST: the logarithm of how much of a state is kept."""
    return (F.logsigmoid(x) / SOFTEN).clamp(min=LOWEST)


@MIXERS.register("gla")
class Gla(TwoForms):
    """S_t = diag(g_t) S_(t-1) + k_t v_t^T, y_t = q_t S_t: linear attention that forgets, row by row, as the input says.

    Yang et al., 2023, Gated Linear Attention Transformers with Hardware-Efficient Training (in speech: Lemerle et al., 2024,
    Lina-Speech). Queries and keys have C / 2 channels; the gates come from a `bottleneck` of a few channels and lie between
    exp(-5) and 1; heads are normed and gated by SiLU. (B, T, C), causal; or (B, *grid, C) of any rank from both ends, a
    plane row by row, with the same gates both ways. Cost per token: 4 * C^2 + 1.5 * C * bottleneck, C^2 / heads, and
    1.5 * Q * C among the Q = min(T, 16) tokens of a chunk (from both ends twice the last two). State: `memory` (heads, C / 2 /
    heads, C / heads).
    """

    values, mixed = "qkv", "read"

    def __init__(self, channels: int, heads: int = 4, bottleneck: int = 16, causal: bool = True) -> None:
        super().__init__()
        whole_number("mixer 'gla': heads", heads)
        divides("gla", channels, 2 * heads, "twice the heads")
        whole_number("mixer 'gla': bottleneck", bottleneck)
        self.causal, self.grid_ranks = causal, (1,) if causal else (1, 2, 3)
        self.heads, self.sizes = heads, [channels // 2, channels // 2, channels]
        self.qkv = torch.nn.Linear(channels, 2 * channels, bias=False)
        self.forget = torch.nn.Sequential(
            torch.nn.Linear(channels, bottleneck, bias=False), torch.nn.Linear(bottleneck, channels // 2)
        )
        self.read = torch.nn.Identity()
        self.gate = torch.nn.Linear(channels, channels, bias=False)
        self.norm = torch.nn.Parameter(torch.ones(channels))
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> State:
        _, keys, values = (size // self.heads for size in self.sizes)
        return {"memory": torch.zeros(batch, self.heads, keys, values, device=self.norm.device)}

    def recurrence(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys, values and log decays, each (B, T, heads, ..), of tokens x."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).split(self.sizes, -1))
        return q * k.shape[-1] ** -0.5, k, v, split_heads(soft_gate(self.forget(x)), self.heads)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if self.causal:
            y, memory = matrix_scan(*self.recurrence(x), state["memory"])
            state = {"memory": memory}
        else:
            y = both_ways(*self.recurrence(x.flatten(1, -2)))
        return self.out(head_norm(self.read(y), self.norm).reshape(x.shape) * F.silu(self.gate(x))), state
