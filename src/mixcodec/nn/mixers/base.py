"""What every token mixer promises."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.state import State
from mixcodec.registry import Registry, whole_number

GROWTHS = ("linear", "n log n", "quadratic")


class Mixer(torch.nn.Module):
    """Mixes tokens of (B, *grid, C) and keeps the shape.

    A mixer states `causal` and the `grid_ranks` that it serves (1 for audio, 2 for images, 3 for video). A causal one
    is defined by `initial_state` and `step`, and its `forward` is `step` from the initial state, so streaming equals
    offline by construction. One that is not causal overrides `forward`.
    """

    causal: bool
    grid_ranks: tuple[int, ...]
    growth: str = "linear"  # of its cost with the number of tokens: one of GROWTHS
    linear: bool = False  # a linear map of x, plus perhaps a bias: see `matrix.py`
    values: str | None = None  # the layer whose last C outputs are values that it mixes linearly: see `matrix.py`

    def initial_state(self, batch: int) -> State:
        """The state before the first token: named tensors, batch first, all zero."""
        raise ConfigError(f"{type(self).__name__} is not causal here, so it can't stream")

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The next T tokens, (B, T, C) -> (B, T, C), and the state after them."""
        raise ConfigError(f"{type(self).__name__} is not causal here, so it can't stream")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, self.initial_state(x.shape[0]))[0]  # len(x) would be a constant in an exported graph


class TwoForms(Mixer):
    """A mixer whose causal and centred forms have one body, `start` and `mix`; the centred form's state is empty."""

    def start(self, batch: int) -> State:
        """The state before the first token of the causal form."""
        raise NotImplementedError

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The body of `step`; with an empty state of `forward` of the centred form."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> State:
        return self.start(batch) if self.causal else super().initial_state(batch)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return self.mix(x, state) if self.causal else super().step(x, state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if self.causal else self.mix(x, {})[0]


def ranks(kind: str, causal: bool, rank: int, most: int = 2, family: str = "mixer") -> tuple[int, ...]:
    """The grid ranks of a mixer whose weights are made for one: (rank,). Raises ConfigError for a causal one but of rank 1."""
    whole_number(f"{family} {kind!r}: rank", rank, 1, most)
    if causal and rank != 1:
        raise ConfigError(f"{family} {kind!r}: rank is {rank}, but a causal one runs along time alone: set causal to false")
    return (rank,)


def kernel_size(kind: str, kernel: int, causal: bool, name: str = "kernel", family: str = "mixer") -> int:
    """`kernel`, which must be odd in a centred form. Raises ConfigError."""
    whole_number(f"{family} {kind!r}: {name}", kernel, 1, 4096)
    if not (causal or kernel % 2):
        raise ConfigError(f"{family} {kind!r}: {name} must be odd if it is not causal, not {kernel}")
    return kernel


def never_causal(kind: str, causal: bool, why: str) -> None:
    """Raises ConfigError, saying why, where a causal form was asked for."""
    if causal:
        raise ConfigError(f"mixer {kind!r} has no causal form: {why}")


def always_causal(kind: str, causal: bool, why: str) -> None:
    """Raises ConfigError, saying why, where a form that is not causal was asked for."""
    if not causal:
        raise ConfigError(f"mixer {kind!r} is causal alone: {why}")


def on_a_line(kind: str, rank: int, why: str) -> tuple[int, ...]:
    """The grid ranks (1,). Raises ConfigError, saying why, where a form for grids of another `rank` was asked for."""
    if whole_number(f"mixer {kind!r}: rank", rank, 1, 3) != 1:
        raise ConfigError(f"mixer {kind!r} has no form of rank {rank}: {why}")
    return (rank,)


def divides(kind: str, channels: int, heads: int, name: str = "heads") -> int:
    """Channels of one of `heads` equal parts. Raises ConfigError where they are not equal."""
    whole_number(f"mixer {kind!r}: {name}", heads)
    if channels % heads:
        raise ConfigError(f"mixer {kind!r}: channels ({channels}) must divide by {name} ({heads})")
    return channels // heads


MIXERS: Registry[Mixer] = Registry("mixer")
