"""What every mixer may rely on, checked once for all: the rank of the grid, the batch of the state, and that there are tokens."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from mixcodec.errors import ConfigError


class Checked:
    """A class whose `step` and `forward` are given tokens (B, *grid, C) that suit it, whatever it or its heirs make of them.

    They raise ConfigError for a grid of a rank that is not among `grid_ranks` and for a state of another batch. Where there are
    no tokens nothing is computed: there are none after it, and the state stays as it is. An exported graph has no checks.
    """

    causal: bool
    grid_ranks: tuple[int, ...]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in {"step", "forward"} & set(vars(cls)):
            setattr(cls, name, _checked(vars(cls)[name]))


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(self: Checked, x: torch.Tensor, *state: Any, **named: Any) -> Any:
        before = next(iter([*state, *named.values()]), None)
        if torch.compiler.is_compiling() or (before is not None and not self.causal):  # which says itself that it can't stream
            return method(self, x, *state, **named)
        if x.ndim - 2 not in self.grid_ranks:
            told = " or ".join(map(str, self.grid_ranks))
            raise ConfigError(
                f"{type(self).__name__} takes (batch, *grid, channels) with a grid of rank {told}, not of shape {tuple(x.shape)}"
            )
        for name, tensor in (before or {}).items():
            if tensor.shape[0] != x.shape[0]:
                raise ConfigError(
                    f"{type(self).__name__}: the state {name!r} is of {tensor.shape[0]} items, the tokens are of {x.shape[0]}"
                )
        if x.numel():
            return method(self, x, *state, **named)
        return torch.zeros_like(x) if before is None else (torch.zeros_like(x), before)

    return run
