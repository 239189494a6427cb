"""The selective state space, and its dual form."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, Mixer, always_causal, divides, kernel_size, on_a_line
from mixcodec.nn.mixers.heads import head_norm, split_heads
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.mixers.scan import matrix_scan, scan, wide
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number

SLOWEST, FASTEST = 0.001, 0.1  # time steps at the start, in tokens
BLOCK = 32  # tokens whose states are made and read before the next ones': so many stay within a cache

WHY = "its state runs on from token to token; take {!r}, which reads from both ends, and planes too"


def step_bias(count: int) -> torch.Tensor:
    """Biases whose softplus is spread logarithmically between SLOWEST and FASTEST."""
    steps = torch.exp(torch.linspace(math.log(SLOWEST), math.log(FASTEST), count))
    return steps + torch.log(-torch.expm1(-steps))


@MIXERS.register("ssm")
class Ssm(Mixer):
    """h_t = exp(d_t A) h_(t-1) + d_t B_t u_t, y_t = C_t h_t + D u_t, for each channel u, where d, B and C depend on the input.

    The selective state space (S6) block of Gu and Dao, 2023, Mamba: Linear-Time Sequence Modeling with Selective State
    Spaces: linear up to `expansion` * C channels u and a gate, a short causal convolution and SiLU, the recurrence with
    `states` numbers a channel, times SiLU of the gate, linear down. (B, T, C), causal. Cost per token: about
    3 * expansion * C^2 + 9 * expansion * C * states. State: `memory` (expansion * C, states), and the convolution's tokens.
    """

    causal = True
    grid_ranks = (1,)
    values, mixed = "written", "read"

    def __init__(
        self,
        channels: int,
        states: int = 16,
        expansion: int = 2,
        kernel: int = 4,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        always_causal("ssm", causal, WHY.format("dual_selection"))
        on_a_line("ssm", rank, WHY.format("dual_selection"))
        for name, number in (("states", states), ("expansion", expansion), ("kernel", kernel)):
            whole_number(f"mixer 'ssm': {name}", number, 1, 4096)
        self.hidden, self.states = expansion * channels, states
        rank = math.ceil(channels / 16)
        self.sizes = [rank, states, states]
        self.up = torch.nn.Linear(channels, 2 * self.hidden, bias=False)
        self.convolution = Depthwise(self.hidden, kernel, bias=True)
        self.written, self.read = torch.nn.Identity(), torch.nn.Identity()
        self.select = torch.nn.Linear(self.hidden, sum(self.sizes), bias=False)
        self.pace = torch.nn.Linear(rank, self.hidden)
        with torch.no_grad():
            self.pace.bias.copy_(step_bias(self.hidden))
        self.log_rate = torch.nn.Parameter(torch.arange(1.0, states + 1).log().repeat(self.hidden, 1))
        self.skip = torch.nn.Parameter(torch.ones(self.hidden))
        self.down = torch.nn.Linear(self.hidden, channels, bias=False)

    def initial_state(self, batch: int) -> State:
        memory = torch.zeros(batch, self.hidden, self.states, device=self.skip.device)
        return {"memory": memory} | scoped("convolution", self.convolution.initial_state(batch))

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        u, gate = self.up(x).chunk(2, -1)
        u, after = self.convolution.step(u, inside("convolution", state))
        u = F.silu(u)
        pace, enter, leave = self.select(u).split(self.sizes, -1)
        pace = wide(F.softplus(self.pace(pace)))[..., None]  # (B, T, hidden, 1)
        rate = -wide(self.log_rate).exp()
        u = self.written(u)
        memory, read = state["memory"], []
        for d, b, c, v in self.blocks(pace, enter, leave, u):
            states, memory = scan(d * rate, d * b[..., None, :] * v[..., None], memory)
            read.append((states @ wide(c)[..., None])[..., 0].to(x.dtype))
        y = self.read(torch.cat(read, 1) + self.skip * u)
        return self.down(y * F.silu(gate)), {"memory": memory} | scoped("convolution", after)

    def blocks(self, *parts: torch.Tensor) -> Iterable[tuple[torch.Tensor, ...]]:
        """BLOCK tokens of all parts (B, T, ..), and the next ones; all at once in an exported graph, which has no loop."""
        return [parts] if torch.compiler.is_exporting() else zip(*(part.split(BLOCK, 1) for part in parts), strict=True)


class Dual(Mixer):
    """What state spaces with one decay a head are made of: of one that runs one way, causal, or of one from both ends."""

    values, mixed = "written", "read"

    def __init__(self, kind: str, channels: int, heads: int, states: int, expansion: int, kernel: int, causal: bool) -> None:
        super().__init__()
        for name, number in (("states", states), ("expansion", expansion)):
            whole_number(f"mixer {kind!r}: {name}", number, 1, 4096)
        kernel_size(kind, kernel, causal)
        self.causal, self.hidden, self.states, self.heads = causal, expansion * channels, states, heads
        divides(kind, self.hidden, heads)
        self.sizes = [self.hidden, self.hidden + 2 * states, heads if causal else 2 * heads]
        self.up = torch.nn.Linear(channels, sum(self.sizes), bias=False)
        self.convolution = Depthwise(self.sizes[1], kernel, causal, bias=True)
        self.written, self.read = torch.nn.Identity(), torch.nn.Identity()
        self.pace_bias = torch.nn.Parameter(step_bias(heads))
        self.log_rate = torch.nn.Parameter(torch.linspace(1, 16, heads).log())
        self.skip = torch.nn.Parameter(torch.ones(heads))
        self.norm = torch.nn.Parameter(torch.ones(self.hidden))

    def split(self, mixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """u (B, N, hidden), and the keys and queries (B, N, heads, states) that all heads share, of what was convolved."""
        u, *shared = F.silu(mixed).split([self.hidden, self.states, self.states], -1)
        key, query = (part[:, :, None].expand(-1, -1, self.heads, -1) for part in shared)
        return u, key, query

    def leave(self, y: torch.Tensor, gate: torch.Tensor, down: torch.nn.Module, like: torch.Tensor) -> torch.Tensor:
        """What was read, y (B, N, heads, ..), gated, normed and led `down`."""
        y = self.read(y).flatten(-2).to(like.dtype) * F.silu(gate)
        return down(head_norm(y[..., None, :], self.norm))


@MIXERS.register("ssd")
class Ssd(Dual):
    """The same recurrence with one decay a head, which makes it attention without softmax under a decaying mask.

    State space duality of Dao and Gu, 2024, Transformers are SSMs: Generalized Models and Efficient Algorithms Through
    Structured State Space Duality (Mamba-2): B is the key and C the query that all heads share, d_t u_t the value, and
    exp(d_t A_h) the decay. Matrix products in place of a scan over every number: faster than `ssm` at the same number of
    states. The convolution runs over u, B and C; the gated output is normed. (B, T, C), causal. Cost per token: about
    3 * expansion * C^2 + 2 * expansion * C * states, and Q * (heads * states + expansion * C) among the Q = min(T, 64)
    tokens of a chunk. State: `memory` (heads, states, expansion * C / heads), and the convolution's tokens.
    """

    grid_ranks = (1,)

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        states: int = 16,
        expansion: int = 2,
        kernel: int = 4,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        always_causal("ssd", causal, WHY.format("hydra"))
        on_a_line("ssd", rank, WHY.format("hydra"))
        super().__init__("ssd", channels, heads, states, expansion, kernel, causal)
        self.down = torch.nn.Linear(self.hidden, channels, bias=False)

    def initial_state(self, batch: int) -> State:
        memory = torch.zeros(batch, self.heads, self.states, self.hidden // self.heads, device=self.skip.device)
        return {"memory": memory} | scoped("convolution", self.convolution.initial_state(batch))

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        gate, mixed, pace = self.up(x).split(self.sizes, -1)
        mixed, after = self.convolution.step(mixed, inside("convolution", state))
        u, key, query = self.split(mixed)
        u = split_heads(self.written(u), self.heads)
        pace = wide(F.softplus(pace + self.pace_bias))[..., None]  # (B, T, heads, 1)
        decay = -wide(self.log_rate).exp()[:, None] * pace
        y, memory = matrix_scan(query, key, pace * u, decay, state["memory"])
        y = self.leave(y + self.skip[:, None] * u, gate, self.down, x)
        return y, {"memory": memory} | scoped("convolution", after)
