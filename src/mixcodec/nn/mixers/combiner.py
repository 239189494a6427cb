"""Attention as a structured conditional expectation."""

import torch

from mixcodec.nn.mixers.attention import rotate_places
from mixcodec.nn.mixers.base import COUNTED, MIXERS, TwoForms, ranks
from mixcodec.nn.mixers.global_attention import rotary_heads
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import Groups, latest, merge, neighbours, partition, window_places
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("combiner")
class Combiner(TwoForms):
    """A token sees its own group token by token, and every other group as one expectation, all under one softmax.

    Ren et al., 2021, Combiner: Full Attention Transformer with Sparse Computation Cost, with its fixed pattern: the weight of
    token j of another group R is p(R | i) p(j | R), so every token in sight has a positive weight and they sum to one. A
    group's key and query are the greatest of its tokens' by channel; its query says p(j | R), its key p(R | i). Rotary
    positions within the group. Not causal: all other groups of a grid of `rank` 1 or 2 (group^rank tokens). Causal: its own
    group so far and the `memory` groups before. Cost per token: 4 * C^2 + 2 * (group^rank + memory) * C (not causal: N /
    group^rank instead of memory; with groups of sqrt(N) that is N sqrt(N) in all). State: queries, keys and values of
    group - 1 tokens, the place in the group, keys and values of `memory` groups, and which are real.
    """

    values = "qkv"
    exports = COUNTED

    def __init__(
        self, channels: int, heads: int = 4, group: int = 16, memory: int = 16, causal: bool = True, rank: int = 1
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("combiner", causal, rank)
        rotary_heads("combiner", channels, heads, rank)
        whole_number("mixer 'combiner': group", group, 2, 4096)
        whole_number("mixer 'combiner': memory", memory)
        self.causal, self.growth = causal, "linear" if causal else "quadratic"
        self.channels, self.heads, self.group, self.memory = channels, heads, group, memory
        self.groups = Groups(group, 3 * channels)
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> State:
        far = self.out.weight.new_zeros(batch, self.memory, self.channels)
        state = {"far_key": far, "far_value": far.clone(), "far_real": far[..., 0].clone()}
        return state | self.groups.initial_state(batch, self.out.weight)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        qkv = self.qkv(x)
        if not self.causal:
            grid = x.shape[1:-1]
            windows, real = partition(qkv, self.group), partition(torch.ones_like(x[:1, ..., :1]), self.group)[..., 0]
            key, value = self._summary(windows, real)
            others = 1 - torch.eye(key.shape[1], dtype=x.dtype, device=x.device)  # a group doesn't see its own summary
            key, value = (part[:, None].expand(-1, key.shape[1], -1, -1) for part in (key, value))
            y = self._attend(windows, real[:, :, None, None], key, value, others[None], len(grid))
            return self.out(merge(y, grid, self.group)), {}
        split = self.groups.split(qkv, x[..., :0], state)
        ahead = torch.ones(self.group, self.group, dtype=x.dtype, device=x.device).tril()
        key, value = self._summary(split.groups, torch.ones_like(split.groups[..., 0]))
        real = torch.ones_like(key[..., 0])  # a group that isn't full yet is seen by none
        after, seen = dict(split.after), {}
        for name, new in (("far_key", key), ("far_value", value), ("far_real", real)):
            past = state[name].to(x.dtype)
            after[name] = latest(past, new, split.full)
            rows = torch.cat([past, new], 1)[:, :-1]
            seen[name] = neighbours(rows[..., None] if rows.ndim == 2 else rows, self.memory, centred=False)
        y = self._attend(split.groups, ahead, seen["far_key"], seen["far_value"], seen["far_real"][..., 0], 1)
        return self.out(self.groups.join(y, split)), after

    def _summary(self, groups: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (B, N, C) of groups (B, N, P, 3 * C) in which some tokens are `real` (B or 1, N, P)."""
        q, k, v = groups.chunk(3, -1)
        away = FAR * (1 - real)[..., None]
        query, key = (q + away).amax(2, keepdim=True), (k + away).amax(2)
        query, k, v = (split_heads(part, self.heads).transpose(2, 3) for part in (query, k, v))  # (B, N, H, P, D)
        weights = (query @ k.mT * k.shape[-1] ** -0.5 + away[:, :, None].mT).softmax(-1)
        return key, (weights @ v).flatten(2)

    def _attend(
        self,
        groups: torch.Tensor,
        allowed: torch.Tensor,
        far_key: torch.Tensor,
        far_value: torch.Tensor,
        far_real: torch.Tensor,
        rank: int,
    ) -> torch.Tensor:
        """Tokens of groups (B, N, P, 3 * C) at their group, where `allowed`, and at M others (B, N, M, C), if real (B, N, M)."""
        q, k, v = (split_heads(part, self.heads).transpose(2, 3) for part in groups.chunk(3, -1))
        far_k, far_v = (split_heads(part, self.heads).transpose(2, 3) for part in (far_key, far_value))
        places = window_places(self.group, rank)
        near = rotate_places(q, places) @ rotate_places(k, places).mT * q.shape[-1] ** -0.5 + FAR * (1 - allowed)
        far = q @ far_k.mT * q.shape[-1] ** -0.5 + FAR * (1 - far_real)[:, :, None, None]
        weights = torch.cat([near, far], -1).softmax(-1)
        near, far = weights.split([near.shape[-1], far.shape[-1]], -1)
        return (near @ v + far @ far_v).transpose(2, 3).flatten(-2)
