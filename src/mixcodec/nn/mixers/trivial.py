"""Mixers that learn nothing: the identity and a frozen random matrix."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import MADE, MIXERS, Mixer, TwoForms
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


@MIXERS.register("identity")
class Identity(Mixer):
    """y = x: tokens don't see each other. The baseline that says what the block does without mixing.

    IdentityFormer of Yu et al., 2022, MetaFormer Baselines for Vision. Any (B, *grid, C); no cost, no parameters, no state.
    """

    causal = True
    grid_ranks = (1, 2, 3)
    linear = True
    one_form = "it looks at no token but its own, so it has nothing ahead of it to see"

    def __init__(self) -> None:
        super().__init__()

    def initial_state(self, batch: int) -> State:
        return {}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return x, state


@MIXERS.register("random")
class Random(TwoForms):
    """A frozen random matrix over the tokens, its rows positive with sum one: how far does mixing without learning go?

    RandFormer of Yu et al., 2022, MetaFormer Baselines for Vision. Not causal: y = matrix @ x over all the tokens of a
    grid, which must be `size`. Causal: a token is a random mean of itself and the size - 1 tokens before it, with the
    matrix's rows in turn. Cost: `size` multiplications a number. State: the last size - 1 tokens, and the next row.
    """

    linear = True
    exports = MADE

    def __init__(self, channels: int, size: int = 16, causal: bool = True) -> None:
        super().__init__()
        whole_number("mixer 'random': size", size, 2, 1 << 14)
        self.channels, self.size, self.causal = channels, size, causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.growth = "linear" if causal else "quadratic"  # it is as large as the grid
        self.matrix: torch.Tensor
        self.register_buffer("matrix", torch.rand(size, size).softmax(-1))

    def start(self, batch: int) -> State:
        past = self.matrix.new_zeros(batch, self.size - 1, self.channels)
        return {"past": past, "row": torch.zeros(batch, 1, device=self.matrix.device)}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not self.causal:
            tokens = x.flatten(1, -2)
            if tokens.shape[1] != self.size:
                raise ConfigError(f"mixer 'random' was made for {self.size} tokens, not {tokens.shape[1]}: set size, or causal")
            return (self.matrix.to(x.dtype) @ tokens).view(x.shape), {}
        length = x.shape[1]
        seen = torch.cat([state["past"].to(x.dtype), x], 1)
        row = state["row"].to(x.device) + torch.arange(length, device=x.device)
        row = row - self.size * (row / self.size).floor()
        weight = self.matrix.to(x.dtype)[row.long()]
        y = torch.stack([seen[:, i : i + length] * weight[..., i, None] for i in range(self.size)]).sum(0)
        after = row[:, -1:] + 1
        return y, {"past": seen[:, -(self.size - 1) :], "row": after * (after < self.size)}
