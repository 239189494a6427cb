"""Retention: attention without softmax whose weights decay with distance."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.attention import rotate
from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides
from mixcodec.nn.mixers.heads import head_norm, split_heads
from mixcodec.nn.mixers.scan import both_ways, matrix_scan, wide
from mixcodec.nn.state import State


@MIXERS.register("retention")
class Retention(TwoForms):
    """y_t = sum_(s <= t) decay^(t - s) (q_t . k_s) v_s with rotated q and k, a fixed decay a head, normed heads, a SiLU gate.

    Sun et al., 2023, Retentive Network: A Successor to Transformer for Large Language Models; Hatamizadeh et al., 2023,
    ViR: Vision Retention Networks. Head h decays by 1 - 2^-(5 + h). (B, T, C), causal; or (B, *grid, C) of any rank
    with all s and decay^|t - s|, a plane read row by row, as ViR reads its patches. Cost per token: 5 * C^2 and
    2 * C^2 / H, and 2 * Q * C among the Q = min(T, 64) tokens of a chunk (from both ends twice the last two). State: `memory` (H,
    C / H, C / H), the sum of k v^T, its keys rotated as seen from the coming token, so that no position grows without bound.
    """

    values, mixed = "qkv", "read"

    def __init__(self, channels: int, heads: int = 4, causal: bool = True) -> None:
        super().__init__()
        self.size = divides("retention", channels, heads)
        if self.size % 2:
            raise ConfigError(f"mixer 'retention': channels ({channels}) must divide by twice the heads ({heads})")
        self.heads, self.causal = heads, causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.read = torch.nn.Identity()
        self.gate = torch.nn.Linear(channels, channels, bias=False)
        self.norm = torch.nn.Parameter(torch.ones(channels))
        self.out = torch.nn.Linear(channels, channels, bias=False)
        self.log_decay: torch.Tensor
        self.register_buffer("log_decay", torch.log1p(-(2.0 ** -(5.0 + torch.arange(heads)))), persistent=False)

    def start(self, batch: int) -> State:
        return {"memory": torch.zeros(batch, self.heads, self.size, self.size, device=self.norm.device)}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = (split_heads(wide(part), self.heads) for part in self.qkv(x.flatten(1, -2)).chunk(3, -1))
        place = torch.arange(q.shape[1], device=x.device)
        q, k = (rotate(part.transpose(1, 2), place).transpose(1, 2) for part in (q, k))
        decay = wide(self.log_decay)[None, None, :, None] + torch.zeros_like(q[..., :1])
        q = q * self.size**-0.5
        gate = F.silu(self.gate(x))
        if not self.causal:
            y = self.read(both_ways(q, k, v, decay))
            return self.out(head_norm(y, self.norm).reshape(x.shape) * gate), state
        y, memory = matrix_scan(q, k, v, decay, state["memory"])
        back = torch.zeros(self.size, dtype=place.dtype, device=x.device) - x.shape[1]
        memory = rotate(memory.transpose(-1, -2), back).transpose(-1, -2)
        return self.out(head_norm(self.read(y), self.norm) * gate), {"memory": memory}
