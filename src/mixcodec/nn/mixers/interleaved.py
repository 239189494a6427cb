"""Tokens in groups, latents that see all groups, and tokens again."""

import torch

from mixcodec.nn.mixers.attention import rotate_places
from mixcodec.nn.mixers.base import COUNTED, MIXERS, TwoForms, ranks
from mixcodec.nn.mixers.global_attention import rotary_heads
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR
from mixcodec.nn.mixers.windows import Groups, latest, merge, neighbours, partition, window_places
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("interleaved")
class Interleaved(TwoForms):
    """Attention within groups of tokens; `latents` of each group read it, attend to all latents, and are read by its tokens.

    Chen and Li, 2023, FIT: Far-reaching Interleaved Transformers: one of its interleavings as one mixer. Groups know of each
    other through latents alone. Rotary positions within a group. Not causal: (B, *grid, C) of `rank` 1 or 2 in groups of
    group^rank tokens, which read their own group's latents. Causal, as in its autoregressive form: a token sees its group so
    far and the latents of the group before it, which have seen the latents of `memory` groups up to their own. Cost per
    token: 4 * C^2 + 2 * (group^rank + 2 * latents) * C, and a group latents * (6 * C^2 + 2 * latents * groups * C). State:
    keys and values of group - 1 tokens, the place in the group, keys and values of memory - 1 groups' latents and the last
    group's for its readers, and which are real.
    """

    exports = COUNTED

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        group: int = 16,
        latents: int = 4,
        memory: int = 16,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("interleaved", causal, rank)
        rotary_heads("interleaved", channels, heads, rank)
        whole_number("mixer 'interleaved': group", group, 2, 4096)
        whole_number("mixer 'interleaved': latents", latents)
        whole_number("mixer 'interleaved': memory", memory, 2)
        self.causal, self.growth = causal, "linear" if causal else "quadratic"
        self.channels, self.heads, self.group, self.memory = channels, heads, group, memory
        self.groups = Groups(group, 2 * channels)
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.latents = torch.nn.Parameter(torch.randn(latents, channels))
        self.norm = torch.nn.LayerNorm(channels)
        self.latent_qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.latent_out = torch.nn.Linear(channels, channels, bias=False)
        self.write = torch.nn.Linear(channels, 2 * channels, bias=False)
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> State:
        like, count = self.out.weight, len(self.latents)
        state = {"latents": like.new_zeros(batch, self.memory - 1, 2 * count * self.channels)}
        state |= {"last": like.new_zeros(batch, 1, 2 * count * self.channels)}
        state |= {"latents_real": like.new_zeros(batch, self.memory - 1), "last_real": like.new_zeros(batch, 1)}
        return state | self.groups.initial_state(batch, like)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x).chunk(3, -1)
        if not self.causal:
            grid, ones = x.shape[1:-1], torch.ones_like(x[:1, ..., :1])
            q, k, v, real = (partition(part, self.group) for part in (q, k, v, ones))
            inside = real[:, :, None, None, :, 0]
            latents = self._read(k, v, inside)
            asked, *pair = self.latent_qkv(self.norm(latents)).chunk(3, -1)
            keys, values = (part.flatten(1, 2)[:, None] for part in pair)  # every group sees the latents of all
            latents = latents + self.latent_out(self._attend(asked, keys, values))
            k_far, v_far = self.write(latents).chunk(2, -1)
            y = self._near(q, k, v, inside, len(grid)) + self._attend(q, k_far, v_far)
            return self.out(merge(y, grid, self.group)), {}
        split = self.groups.split(torch.cat([k, v], -1), q, state)
        q, (k, v) = split.others, split.groups.chunk(2, -1)
        latents = self._read(k, v, torch.ones_like(k[..., 0])[:, :, None, None])  # used of full groups alone
        asked, keys, values = self.latent_qkv(self.norm(latents)).chunk(3, -1)
        new, real = torch.cat([keys, values], -1).flatten(2), torch.ones_like(keys[:, :, 0, 0])
        far = torch.cat([state["latents"].to(x.dtype), new], 1)
        far_real = torch.cat([state["latents_real"].to(x.dtype), real], 1)
        far = neighbours(far, self.memory, centred=False).unflatten(-1, (len(self.latents), -1)).flatten(2, 3)
        there = neighbours(far_real[..., None], self.memory, centred=False)[..., 0].repeat_interleave(len(self.latents), -1)
        k_far, v_far = far.chunk(2, -1)
        latents = latents + self.latent_out(self._attend(asked, k_far, v_far, there[:, :, None, None]))
        written = self.write(latents).flatten(2)
        last = torch.cat([state["last"].to(x.dtype), written], 1)[:, :-1]
        last_real = torch.cat([state["last_real"].to(x.dtype), real], 1)[:, :-1]
        k_far, v_far = last.unflatten(-1, (len(self.latents), -1)).chunk(2, -1)
        ahead = torch.ones(self.group, self.group, dtype=x.dtype, device=x.device).tril()
        y = self._near(q, k, v, ahead, 1) + self._attend(q, k_far, v_far) * last_real[..., None, None]
        after = split.after | {
            "latents": latest(state["latents"], new, split.full),
            "last": latest(state["last"], written, split.full),
        }
        after |= {f"{name}_real": latest(state[f"{name}_real"], real, split.full) for name in ("latents", "last")}
        return self.out(self.groups.join(y, split)), after

    def _read(self, k: torch.Tensor, v: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """The latents (B, N, L, C) of groups with keys and values (B, N, P, C)."""
        return self.latents + self._attend(self.latents[None, None].expand(*k.shape[:2], -1, -1), k, v, allowed)

    def _near(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, allowed: torch.Tensor, rank: int) -> torch.Tensor:
        return self._attend(q, k, v, allowed, window_places(self.group, rank))

    def _attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        allowed: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attention of queries (B, N, Q, C) to keys and values (B, N or 1, K, C), where `allowed`, rotated by `places`."""
        q, k, v = (split_heads(part, self.heads).transpose(2, 3) for part in (q, k, v))
        if places is not None:
            q, k = rotate_places(q, places), rotate_places(k, places)
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if allowed is not None:
            scores = scores + FAR * (1 - allowed)
        return (scores.softmax(-1) @ v).transpose(2, 3).flatten(-2)
