"""Gated single-head attention, near in full and far in linear form."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.attention import look_back, no_past, rotate_places
from mixcodec.nn.mixers.base import COUNTED, MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.mixers.scan import matrix_scan, wide
from mixcodec.nn.mixers.windows import band, merge, partition, unband, window_places
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number


class Project(torch.nn.Module):
    """h + depthwise(h) with h = silu(linear(x)): a projection that sees a token's neighbours."""

    def __init__(self, inputs: int, outputs: int, kernel: int, causal: bool, rank: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(inputs, outputs)
        self.convolution = Depthwise(outputs, kernel, causal, rank)

    def initial_state(self, batch: int) -> State:
        return self.convolution.initial_state(batch)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        h = F.silu(self.linear(x))
        y, state = self.convolution.step(h, state)
        return h + y, state


@MIXERS.register("gated_attention")
class GatedAttention(TwoForms):
    """u' * v * sigmoid(v' * u), where u' and v' are u and v after one attention: squared ReLU in a chunk, linear over all.

    Zhao and Ma, 2023, MossFormer: Pushing the Performance Limit of Monaural Speech Separation using Gated Single-Head
    Transformer with Convolution-Augmented Joint Self-Attentions (the joint form: Hua et al., 2022, Transformer Quality in
    Linear Time). Projections are followed by depthwise convolutions; queries and keys of both forms are one projection of
    `size` channels, scaled and offset. Near: relu(q . k / P)^2 among the P tokens of a chunk, with rotary positions. Far:
    q . k summed over all N tokens, divided by N (causal: over those so far, within a chunk those so far). (Here no half of the
    channels is first moved on by a token, for the convolutions see the neighbours; the far form has no rotary positions, and
    the last projection no norm.) (B, *grid, C), causal along time or centred on a grid of `rank` 1 or 2 (windows of
    chunk^rank). Cost per token, E = expansion * C: 3 * C * E + C * size, and 4 * P * E + 4 * size * E; causal also
    Q * (size + 2 * E) in the far form's chunks of Q = min(T, 64) tokens. State: what the convolutions saw, keys and values of
    chunk - 1 tokens, the place in the chunk, and the sum k v^T (size, 2 * E) with its count.
    """

    exports = COUNTED

    def __init__(
        self,
        channels: int,
        size: int = 64,
        chunk: int = 64,
        expansion: float = 1,
        kernel: int = 17,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("gated_attention", causal, rank)
        kernel_size("gated_attention", kernel, causal)
        whole_number("mixer 'gated_attention': chunk", chunk, 2, 4096)
        whole_number("mixer 'gated_attention': size", size)
        if size % (2 * rank):
            raise ConfigError(f"mixer 'gated_attention': size ({size}) must divide by twice the rank ({rank})")
        self.causal, self.size, self.chunk, self.hidden = causal, size, chunk, hidden_channels(channels, expansion)
        self.places = chunk**rank
        self.enter = Project(channels, 2 * self.hidden, kernel, causal, rank)
        self.share = Project(channels, size, kernel, causal, rank)
        self.scale = torch.nn.Parameter(torch.ones(4, size))
        self.offset = torch.nn.Parameter(torch.zeros(4, size))
        self.leave = Project(self.hidden, channels, kernel, causal, rank)

    def start(self, batch: int) -> State:
        like = self.scale
        state: State = {}
        for name, part in (("enter", self.enter), ("share", self.share), ("leave", self.leave)):
            state |= scoped(name, part.initial_state(batch))
        state |= scoped("near", no_past(like, batch, self.chunk - 1, self.size, 2 * self.hidden))
        count = torch.zeros(batch, 1, device=like.device)
        memory = torch.zeros(batch, 1, self.size, 2 * self.hidden, device=like.device)
        return state | {"phase": count, "count": count.clone(), "memory": memory}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        uv, enter = self.enter.step(x, inside("enter", state))
        shared, share = self.share.step(x, inside("share", state))
        near_q, far_q, near_k, far_k = (shared * a + b for a, b in zip(self.scale, self.offset, strict=True))
        if self.causal:
            near, after = self._near(near_q, near_k, uv, state)
            far, more = self._far(far_q, far_k, uv, state)
            after |= more
        else:
            near, far, after = self._near_of_all(near_q, near_k, uv), self._far_of_all(far_q, far_k, uv), {}
        u, v = uv.chunk(2, -1)
        seen_u, seen_v = (near + far).to(x.dtype).chunk(2, -1)
        y, leave = self.leave.step(seen_u * v * torch.sigmoid(seen_v * u), inside("leave", state))
        return y, scoped("enter", enter) | scoped("share", share) | scoped("leave", leave) | after

    def _near(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        length, past = q.shape[1], self.chunk - 1
        place = state["phase"].to(q.device) + torch.arange(length, device=q.device)
        place = place - self.chunk * (place / self.chunk).floor()  # of each token in its chunk: so far it may look back
        recent = look_back(q, k, v, inside("near", state), past)
        reach = band(place, 0, recent.size)
        at = torch.arange(recent.keys.shape[1], device=q.device)[:, None]
        scores = rotate_places(recent.queries, at[past:]) @ rotate_places(recent.keys, at).mT
        allowed = (recent.behind >= 0) & (recent.behind <= reach[..., None])
        scores = F.relu(scores / self.places).square() * allowed.to(scores.dtype)
        last = place[:, -1:] + 1
        after = scoped("near", recent.keep) | {"phase": last * (last < self.chunk)}
        return unband(scores @ recent.values, q.shape[0], length), after

    def _far(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = (wide(part)[:, :, None] for part in (q, k, v))
        y, memory = matrix_scan(q, k, v, torch.zeros_like(v[..., :1]), state["memory"])
        count = state["count"].to(q.device) + 1 + torch.arange(q.shape[1], device=q.device)
        return y[:, :, 0] / count[..., None], {"memory": memory, "count": count[:, -1:]}

    def _near_of_all(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        grid, places = q.shape[1:-1], window_places(self.chunk, q.ndim - 2)
        windows = (partition(part, self.chunk) for part in (q, k, v))
        q, k, v = windows
        scores = rotate_places(q, places) @ rotate_places(k, places).mT
        return merge(F.relu(scores / self.places).square() @ v, grid, self.chunk)

    def _far_of_all(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        shape = v.shape
        q, k, v = (wide(part).flatten(1, -2) for part in (q, k, v))
        return (q @ (k.mT @ v / v.shape[1])).reshape(shape)
