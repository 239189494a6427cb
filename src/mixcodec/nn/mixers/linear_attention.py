"""Linear attention."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.scan import matrix_scan, wide
from mixcodec.nn.state import State

SMALL = 1e-3  # added to features, so that weights never sum to zero


@MIXERS.register("linear_attention")
class LinearAttention(TwoForms):
    """Attention with the weights f(q) . f(k) in place of exp(q . k), f = relu + small; they are positive and sum to one.

    Katharopoulos et al., 2020, Transformers are RNNs; with few heads and ReLU as in Wang et al., 2025, LiT: Delving into a
    Simplified Linear Diffusion Transformer for Image Generation; normalised, so that repeating every token changes nothing,
    as in Liu et al., 2024, LinFusion: 1 GPU, 1 Minute, 16K Image. Sums over keys are made once for all queries: the cost
    per token is 4 * C^2 and 2 * C^2 / heads. Not causal: every token of a grid of any rank sees all. Causal: all so far;
    state: `memory` (heads, C / heads, C / heads + 1), the sum of f(k) [v, 1]^T. It never forgets (`gla` does).
    """

    values = "qkv"

    def __init__(self, channels: int, heads: int = 2, causal: bool = True) -> None:
        super().__init__()
        self.size = divides("linear_attention", channels, heads)
        self.heads, self.causal = heads, causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.qkv = torch.nn.Linear(channels, 3 * channels)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return {"memory": torch.zeros(batch, self.heads, self.size, self.size + 1, device=self.out.weight.device)}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = (split_heads(wide(part), self.heads) for part in self.qkv(x.flatten(1, -2)).chunk(3, -1))
        q, k = F.relu(q) + SMALL, F.relu(k) + SMALL
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
        if self.causal:
            y, memory = matrix_scan(q, k, v, torch.zeros_like(v[..., :1]), state["memory"])
            state = {"memory": memory}
        else:
            y = torch.einsum("bthk,bhkv->bthv", q, torch.einsum("bthk,bthv->bhkv", k, v))
        y = (y[..., :-1] / y[..., -1:]).flatten(-2).to(x.dtype)
        return self.out(y).reshape(x.shape), state
