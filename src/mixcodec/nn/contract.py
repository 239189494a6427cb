"""What every mixer may rely on, checked once for all: what its tokens are, what its state is, and that there are tokens."""

import functools
from collections.abc import Callable
from typing import Any, cast

import torch

from mixcodec.errors import ConfigError


class Checked(torch.nn.Module):
    """A class whose `step` and `forward` are given tokens (B, *grid, C) that suit it, whatever it or its heirs make of them.

    They raise ConfigError for a grid of a rank that is not among `grid_ranks`, for other channels than `width`, for tokens that
    are no floating-point numbers or, outside autocast, of another type than the weights, and for a state that lacks a tensor or
    is of another batch. Where there are no tokens nothing is computed: there are none after it, and the state stays as it is. An
    exported graph has no checks.
    """

    causal: bool
    grid_ranks: tuple[int, ...]
    width: int | None = None
    """C, where the mixer was made for one and it is known."""

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
        _check_tokens(self, x)
        for name, tensor in (before or {}).items():
            if tensor.shape[0] != x.shape[0]:
                raise ConfigError(
                    f"{type(self).__name__}: the state {name!r} is of {tensor.shape[0]} items, the tokens are of {x.shape[0]}"
                )
        if x.numel():
            try:
                return method(self, x, *state, **named)
            except (KeyError, ConfigError):  # of the latter those of mixers within this one, which know parts of the names
                if before is not None and (missing := set(cast(Any, self).initial_state(1)) - set(before)):
                    told = f"the state has no {min(missing)!r}: begin with initial_state"
                    raise ConfigError(f"{type(self).__name__}: {told}") from None
                raise
        return torch.zeros_like(x) if before is None else (torch.zeros_like(x), before)

    return run


def _check_tokens(self: Checked, x: torch.Tensor) -> None:
    """Raises ConfigError for numbers that the weights can't be multiplied with."""
    name = type(self).__name__
    if self.width is not None and x.shape[-1] != self.width:
        raise ConfigError(f"{name} was made for {self.width} channels, not for tokens of shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ConfigError(f"{name} takes floating-point numbers, not {x.dtype}")
    weights = next((weight.dtype for weight in self.parameters() if weight.is_floating_point()), x.dtype)
    if x.dtype != weights and not (torch.amp.is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type)):
        raise ConfigError(f"{name}: the tokens are {x.dtype}, the weights {weights}: convert either, or use autocast")
