"""What every token mixer promises."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.contract import Checked
from mixcodec.nn.state import State
from mixcodec.registry import Registry, whole_number

GROWTHS = ("linear", "n log n", "quadratic")
HIGHEST = 3
"""The highest rank of a grid: a video's."""
FORM = ("causal", "rank")
"""What every kind can be asked for, whether its constructor takes it or its one form already has it."""


class Export(NamedTuple):
    """Of which grids an exported graph of a centred form takes tokens, and what keeps it from more.

    `any`; `one`, as large as that it was exported with; or `none`, there is no graph that onnxruntime could run. The batch is
    any. A causal form has no such limits: what is exported of it is its `step`, for blocks of any length.
    """

    grids: str = "any"
    why: str = ""


COUNTED = Export("one", "how many windows or groups cover a grid is counted when it is exported")
MADE = Export("one", "its weights are made for that number of tokens")
POOLED = Export("one", "the regions that tokens are pooled over are laid out when it is exported")
SPECTRUM = Export("one", "onnxruntime takes a signal to be as long as its spectrum where the length is free")


class Mixer(Checked, torch.nn.Module):
    """Mixes tokens of (B, *grid, C) and keeps the shape.

    A mixer states `causal` and the `grid_ranks` that it serves (1 for audio, 2 for images, 3 for video). A causal one
    is defined by `initial_state` and `step`, and its `forward` is `step` from the initial state, so streaming equals
    offline by construction. One that is not causal overrides `forward`. Both are checked: see `Checked`.
    """

    causal: bool
    grid_ranks: tuple[int, ...]
    growth: str = "linear"  # of its cost with the number of tokens: one of GROWTHS
    exports: Export = Export()  # of its centred form
    linear: bool = False  # a linear map of x, plus perhaps a bias: see `matrix.py`
    values: str | None = None  # the layer whose last outputs are values that it mixes linearly: see `matrix.py`
    mixed: str = "out"  # the layer that is given the mixed values
    one_form: str = "it has been written so"  # why there is no other form, where its constructor doesn't take `causal`

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
    """The grid ranks of a mixer whose weights are made for one, at most of rank `most`: (rank,).

    Raises ConfigError, saying why, for a causal one but of rank 1, and for a higher rank.
    """
    whole_number(f"{family} {kind!r}: rank", rank, 1, HIGHEST)
    if causal and rank != 1:
        raise ConfigError(f"{family} {kind!r}: rank is {rank}, but a causal one runs along time alone: set causal to false")
    if rank > most:
        told = "its weights have the shape of what it is made for, a line (1) or a plane (2)"
        raise ConfigError(f"{family} {kind!r} has no form of rank {rank}: {told}")
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
    if whole_number(f"mixer {kind!r}: rank", rank, 1, HIGHEST) != 1:
        raise ConfigError(f"mixer {kind!r} has no form of rank {rank}: {why}")
    return (rank,)


def at_layer(kind: str, layer: int, layers: int) -> None:
    """Raises ConfigError where there is no such `layer`, from 0, of `layers`."""
    whole_number(f"mixer {kind!r}: layers", layers)
    whole_number(f"mixer {kind!r}: layer", layer, 0, layers - 1)


def divides(kind: str, channels: int, heads: int, name: str = "heads") -> int:
    """Channels of one of `heads` equal parts. Raises ConfigError where they are not equal."""
    whole_number(f"mixer {kind!r}: {name}", heads)
    if channels % heads:
        raise ConfigError(f"mixer {kind!r}: channels ({channels}) must divide by {name} ({heads})")
    return channels // heads


class Mixers(Registry[Mixer]):
    """The family: every kind can be asked for by `causal` and `rank`, and says why where it has no such form.

    Many kinds have one body for grids of any rank, and a few one form alone. Their constructors then don't take what would
    change nothing; what they state of themselves is held against what was asked for.
    """

    def options(self, kind: str) -> list[str]:
        own = self._parameters(kind)
        return own + [name for name in FORM if name not in own]

    def build(self, config: Mapping[str, Any] | str, **context: Any) -> Mixer:
        kind = config.get("kind") if isinstance(config, Mapping) else config
        if not isinstance(kind, str):
            return super().build(config, **context)
        own, options = self._parameters(kind), dict(config) if isinstance(config, Mapping) else {"kind": kind}
        asked = {name: options.pop(name) for name in FORM if name in options and name not in own}
        mixer = _held_against(asked, kind, super().build(options, **context))
        if "channels" in own:
            mixer.width = context.get("channels", options.get("channels"))
        return mixer


def _held_against(asked: Mapping[str, Any], kind: str, mixer: Mixer) -> Mixer:
    """The mixer, for grids of the rank asked for alone. Raises ConfigError where it has no such form."""
    if asked.get("causal", mixer.causal) != mixer.causal:
        told = "is causal alone" if mixer.causal else "has no causal form"
        raise ConfigError(f"mixer {kind!r} {told}: {mixer.one_form}")
    if "rank" in asked:
        rank = whole_number(f"mixer {kind!r}: rank", asked["rank"], 1, HIGHEST)
        if rank not in mixer.grid_ranks:
            ranks(kind, mixer.causal, rank, HIGHEST)
            raise ConfigError(f"mixer {kind!r} has no form of rank {rank}: {mixer.one_form}")
        mixer.grid_ranks = (rank,)
    return mixer


MIXERS = Mixers("mixer", outside=True)
