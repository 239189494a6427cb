"""A cache of keys and values of fixed size, into which convolutions merge what is past."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.attention import rotate_places
from mixcodec.nn.mixers.base import MIXERS, Mixer, always_causal, kernel_size, on_a_line
from mixcodec.nn.mixers.global_attention import rotary_heads
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import FAR, Depthwise
from mixcodec.nn.mixers.scan import scan, wide
from mixcodec.nn.mixers.windows import Groups, window_places
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

EMPTY = 1e-9  # share of a slot that is filled, below which it counts as empty
SLOWEST = 4.0  # the slots' gates begin at sigmoid(-4) to sigmoid(0)
WHY = "a cache stands for the past; take 'combiner', whose groups stand for all the others"


@MIXERS.register("lococo")
class LoCoCo(Mixer):
    """Attention to the chunk so far, with rotary positions, and to `slots` keys and values that stand for all before it.

    Cai et al., 2024, LoCoCo: Dropping In Convolutions for Long Context Compression. When a chunk is full, a convolution over
    its keys says how much of each token goes into each slot (a softmax over the chunk) and how much of the slot that
    replaces; so a slot is always a mean of past tokens with weights that sum to one. (Here the convolution sees the chunk
    and not the slots: then all merges are one scan, and a long block needs no loop.) A slot's score also counts how far it
    has been filled. (B, T, C), causal. Cost per token: 4 * C^2 + 2 * (chunk + 2 * slots) * C + 2 * slots * kernel * C. State:
    keys and values of chunk - 1 tokens, the place in the chunk, and `cache` (heads, slots, 2 * C / heads + 1).
    """

    values = "qkv"

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        chunk: int = 16,
        slots: int = 16,
        kernel: int = 5,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        always_causal("lococo", causal, WHY)
        on_a_line("lococo", rank, WHY)
        rotary_heads("lococo", channels, heads, 1)
        kernel_size("lococo", kernel, False)
        whole_number("mixer 'lococo': chunk", chunk, 2, 4096)
        whole_number("mixer 'lococo': slots", slots)
        self.causal, self.grid_ranks = causal, (1,)
        self.channels, self.heads, self.chunk, self.slots = channels, heads, chunk, slots
        self.groups = Groups(chunk, 2 * channels)
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.merge = Depthwise(channels // heads, kernel, False, outputs=2 * slots, groups=1)
        self.speed = torch.nn.Parameter(torch.linspace(-SLOWEST, 0, slots))
        self.out = torch.nn.Linear(channels, channels, bias=False)

    def initial_state(self, batch: int) -> State:
        size = 2 * self.channels // self.heads + 1
        cache = torch.zeros(batch, self.heads, self.slots, size, device=self.out.weight.device)
        return self.groups.initial_state(batch, self.out.weight) | {"cache": cache}

    def weights(self, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of keys (B, N, H, chunk, D): what each slot takes of each token (B, N, H, slots, chunk), and how much it replaces
        by that, as logits (B, N, H, slots).
        """
        y = wide(self.merge.step(keys.flatten(0, 2), {})[0].unflatten(0, keys.shape[:3]))
        share, gate = y.chunk(2, -1)
        return share.mT.softmax(-1), gate.mean(-2) + wide(self.speed)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x).chunk(3, -1)
        split = self.groups.split(torch.cat([k, v], -1), q, state)
        k, v = split.groups.chunk(2, -1)
        q, k, v = (split_heads(part, self.heads).transpose(2, 3) for part in (split.others, k, v))  # (B, N, H, chunk, D)
        share, gate = self.weights(k)
        full = (torch.arange(k.shape[1], device=x.device)[None] < split.full).to(share.dtype)[:, :, None, None]
        pair = wide(torch.cat([k, v, torch.ones_like(v[..., :1])], -1))
        merged = (gate.sigmoid() * full)[..., None] * (share.to(pair.dtype) @ pair)
        ends, cache = scan((F.logsigmoid(-gate) * full)[..., None], merged, state["cache"].to(x.device))
        slots = torch.cat([state["cache"].to(ends)[:, None], ends[:, :-1]], 1)  # as each chunk finds them
        filled = slots[..., -1:]
        means = (slots[..., :-1] / filled.clamp(min=EMPTY)).to(x.dtype)
        far_k, far_v = means.chunk(2, -1)
        places = window_places(self.chunk, 1)
        ahead = FAR * (1 - torch.ones(self.chunk, self.chunk, dtype=x.dtype, device=x.device).tril())
        near = rotate_places(q, places) @ rotate_places(k, places).mT * q.shape[-1] ** -0.5 + ahead
        empty = torch.where(filled > EMPTY, filled.clamp(min=EMPTY).log(), torch.full_like(filled, FAR))
        far = q @ far_k.mT * q.shape[-1] ** -0.5 + empty.mT.to(x.dtype)
        scores = torch.cat([near, far], -1).softmax(-1)
        near, far = scores.split([self.chunk, self.slots], -1)
        y = (near @ v + far @ far_v).transpose(2, 3).flatten(-2)
        return self.out(self.groups.join(y, split)), split.after | {"cache": cache}
