"""What every token mixer promises."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.state import State
from mixcodec.registry import Registry


class Mixer(torch.nn.Module):
    """Mixes tokens of (B, *grid, C) and keeps the shape.

    A mixer states `causal` and the `grid_ranks` that it serves (1 for audio, 2 for images, 3 for video). A causal one
    is defined by `initial_state` and `step`, and its `forward` is `step` from the initial state, so streaming equals
    offline by construction. One that is not causal overrides `forward`.
    """

    causal: bool
    grid_ranks: tuple[int, ...]

    def initial_state(self, batch: int) -> State:
        """The state before the first token: named tensors, batch first, all zero."""
        raise ConfigError(f"{type(self).__name__} is not causal here, so it can't stream")

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The next T tokens, (B, T, C) -> (B, T, C), and the state after them."""
        raise ConfigError(f"{type(self).__name__} is not causal here, so it can't stream")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, self.initial_state(len(x)))[0]


MIXERS: Registry[Mixer] = Registry("mixer")
