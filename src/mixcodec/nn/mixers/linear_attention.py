"""Linear attention: plain, simplified with a convolution beside it, and generalised with gates."""

import torch
import torch.nn.functional as F

from mixcodec.nn.channels.base import hidden_channels
from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, kernel_size, ranks
from mixcodec.nn.mixers.gla import soft_gate
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.mixers.scan import matrix_scan, wide
from mixcodec.nn.state import State, inside, outside, scoped

LEAST = 1e-6  # added to features that are positive but for rounding, so that weights never sum to zero
SMALL = 1e-3  # the same where half of them are zero


class NormedLinear(TwoForms):
    """Attention whose weights f(q) . f(k) are positive and are divided by their sum; `feature` is f, here elu + 1.

    Sums over keys are made once for all queries. Not causal: every token of a grid sees all. Causal: all so far; state:
    `memory` (heads, D, D + 1), the sum of f(k) [v, 1]^T.
    """

    def __init__(self, kind: str, channels: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.size = divides(kind, channels, heads)
        self.heads, self.causal = heads, causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return {"memory": torch.zeros(batch, self.heads, self.size, self.size + 1, device=self.out.weight.device)}

    def feature(self, x: torch.Tensor) -> torch.Tensor:
        """Of queries and keys (B, N, heads, D), positive."""
        return F.elu(x) + (1 + LEAST)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, state: State, log_decay: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """What tokens (B, N, C) see by their queries, keys and values, and the state after them.

        With `log_decay` (B, N, heads, 1) a causal form forgets; the weights still sum to one.
        """
        like = v
        q, k, v = (split_heads(wide(part), self.heads) for part in (q, k, v))
        q, k = self.feature(q), self.feature(k)
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
        if self.causal:
            y, memory = matrix_scan(q, k, v, torch.zeros_like(v[..., :1]) if log_decay is None else log_decay, state["memory"])
            state = {"memory": memory}
        else:
            y = torch.einsum("bthk,bhkv->bthv", q, torch.einsum("bthk,bthv->bhkv", k, v))
        return (y[..., :-1] / y[..., -1:]).flatten(-2).to(like.dtype), state


@MIXERS.register("linear_attention")
class LinearAttention(NormedLinear):
    """Attention with the weights f(q) . f(k), f = elu + 1, in place of exp(q . k); they are positive and sum to one.

    Katharopoulos et al., 2020, Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention. (B, T, C),
    causal, or (B, *grid, C) of any rank with every token seeing all. Cost per token: 4 * C^2 and 2 * C^2 / heads;
    causal also 2 * Q * C among the Q = min(T, 64) tokens of a chunk. State: `memory` (heads, C / heads, C / heads + 1). It never
    forgets (`generalised_linear` and `gla` do).
    """

    values = "qkv"

    def __init__(self, channels: int, heads: int = 4, causal: bool = True) -> None:
        super().__init__("linear_attention", channels, heads, causal)
        self.qkv = torch.nn.Linear(channels, 3 * channels)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x.flatten(1, -2)).chunk(3, -1)
        y, state = self.attend(q, k, v, state)
        return self.out(y).reshape(x.shape), state


@MIXERS.register("simplified_linear")
class SimplifiedLinear(NormedLinear):
    """Linear attention with relu as feature and few heads, and a depthwise convolution of the values added to what it sees.

    Wang et al., 2025, LiT: Delving into a Simplified Linear Diffusion Transformer for Image Generation. Few heads cost more
    arithmetic and no more time; the convolution gives the detail that weights of low rank blur. (B, *grid, C), causal along
    time or centred on a grid of `rank` 1 or 2. Cost per token: 4 * C^2, 2 * C^2 / heads and C * kernel^rank; causal
    also 2 * Q * C among the Q = min(T, 64) tokens of a chunk. State: `memory` (heads, C / heads, C / heads + 1) and the last
    kernel - 1 values.
    """

    values = "qkv"

    def __init__(self, channels: int, heads: int = 2, kernel: int = 5, causal: bool = True, rank: int = 1) -> None:
        super().__init__("simplified_linear", channels, heads, causal)
        self.grid_ranks = ranks("simplified_linear", causal, rank)
        kernel_size("simplified_linear", kernel, causal)
        self.qkv = torch.nn.Linear(channels, 3 * channels)
        self.convolution = Depthwise(channels, kernel, causal, rank, bias=True)

    def feature(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x) + SMALL

    def start(self, batch: int) -> State:
        return super().start(batch) | scoped("convolution", self.convolution.initial_state(batch))

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x).chunk(3, -1)
        near, after = self.convolution.step(v, inside("convolution", state))
        q, k, v = (part.flatten(1, -2) for part in (q, k, v))
        far, memory = self.attend(q, k, v, outside("convolution", state))
        return self.out(far.reshape(x.shape) + near), memory | scoped("convolution", after)


class Bend(torch.nn.Module):
    """x + perceptron(x), its hidden channels normed and passed through a leaky relu: what makes a projection see x's gates."""

    def __init__(self, channels: int, expansion: float) -> None:
        super().__init__()
        hidden = hidden_channels(channels, expansion)
        self.inner = torch.nn.Linear(channels, hidden)
        self.norm = torch.nn.LayerNorm(hidden)
        self.outer = torch.nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.outer(F.leaky_relu(self.norm(self.inner(x)), 0.01))


@MIXERS.register("generalised_linear")
class GeneralisedLinear(NormedLinear):
    """Linear attention as the low-rank form of all gated recurrences: f(query(bend(x))) . f(key(bend(x))), summing to one.

    Liu et al., 2024, LinFusion: 1 GPU, 1 Minute, 16K Image. From y = (q k^T * A) v, A the products of a recurrence's gates:
    weights are normalised, so that repeating every token changes nothing. Not causal, (B, *grid, C) of any rank: gates have no
    order there; A is taken as low-rank, A_ij = F(x_i) . G(x_j), and a perceptron before each projection learns q F and k G
    (`bend`, f = elu + 1; the authors' expansion is 1). Causal along time: the same, normalised so far, and with a gate a head,
    a_t = sigmoid(linear(x_t))^(1/16): the recurrence that it comes from. Cost per token: (4 + 4 * expansion) * C^2 and
    2 * C^2 / heads; causal also 2 * Q * C among the Q = min(T, 64) tokens of a chunk. State: `memory` (heads, C / heads,
    C / heads + 1).
    """

    values = "value"

    def __init__(self, channels: int, heads: int = 4, expansion: float = 0.25, causal: bool = True) -> None:
        super().__init__("generalised_linear", channels, heads, causal)
        self.bend_query, self.bend_key = Bend(channels, expansion), Bend(channels, expansion)
        self.query = torch.nn.Linear(channels, channels, bias=False)
        self.key = torch.nn.Linear(channels, channels, bias=False)
        self.value = torch.nn.Linear(channels, channels, bias=False)
        self.forget = torch.nn.Linear(channels, heads) if causal else None

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        tokens = x.flatten(1, -2)
        decay = soft_gate(wide(self.forget(tokens)))[..., None] if self.forget else None
        q, k = self.query(self.bend_query(tokens)), self.key(self.bend_key(tokens))
        y, state = self.attend(q, k, self.value(tokens), state, decay)
        return self.out(y).reshape(x.shape), state
