"""Legendre memory."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import MIXERS, Mixer, always_causal, on_a_line
from mixcodec.nn.mixers.scan import fixed_scan, wide
from mixcodec.nn.state import State
from mixcodec.registry import whole_number

WHY = "its memory is of a signal's last tokens; take 'global_filter', a linear map of all tokens of a line or plane"


def legendre(order: int, window: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A (order, order) and B (order,), in float64, of m_t = A m_(t-1) + B u_t, whose m are the last `window` tokens' Legendre
    coefficients: the continuous system held constant over a token.
    """
    i = torch.arange(order, dtype=torch.float64)
    row, column = i[:, None], i[None, :]
    a = (2 * row + 1) * torch.where(row < column, -1.0, (-1.0) ** (row - column + 1)) / window
    b = (2 * i + 1) * (-1.0) ** i / window
    both = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    both[:-1, :-1], both[:-1, -1] = a, b
    both = torch.matrix_exp(both)
    return both[:-1, :-1], both[:-1, -1]


@MIXERS.register("lmu")
class Lmu(Mixer):
    """Each of `memories` projected inputs u is kept as the Legendre coefficients of its last `window` tokens; linear out.

    Voelker et al., 2019, Legendre Memory Units; Liu et al., 2024, LMUFormer: Low Complexity Yet Powerful Spiking Model With
    Legendre Memory Units. The matrices are fixed, not learned, so the recurrence is a convolution and trains in parallel.
    (B, T, C), causal and linear in x. Cost per token: C * memories + memories * order^2 + memories * order * C + C^2.
    State: `memory` (memories, order).
    """

    causal = True
    grid_ranks = (1,)
    linear = True

    def __init__(
        self,
        channels: int,
        memories: int | None = None,
        order: int = 8,
        window: int = 32,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        always_causal("lmu", causal, WHY)
        on_a_line("lmu", rank, WHY)
        self.memories = channels if memories is None else whole_number("mixer 'lmu': memories", memories)
        whole_number("mixer 'lmu': order", order, 1, 64)
        whole_number("mixer 'lmu': window", window, 1, 1 << 16)
        if order > window:
            raise ConfigError(f"mixer 'lmu': order ({order}) coefficients need a window of as many tokens, not {window}")
        a, b = legendre(order, window)
        self.order = order
        self.advance: torch.Tensor
        self.enter: torch.Tensor
        self.register_buffer("advance", a.float(), persistent=False)
        self.register_buffer("enter", b.float(), persistent=False)
        self.up = torch.nn.Linear(channels, self.memories)
        self.recall = torch.nn.Linear(self.memories * order, channels)
        self.skip = torch.nn.Linear(channels, channels, bias=False)

    def initial_state(self, batch: int) -> State:
        return {"memory": torch.zeros(batch, self.memories, self.order, device=self.recall.weight.device)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        u = wide(self.up(x))[..., None] * wide(self.enter)
        memory, last = fixed_scan(wide(self.advance), u, state["memory"])
        return self.recall(memory.flatten(-2).to(x.dtype)) + self.skip(x), {"memory": last}
