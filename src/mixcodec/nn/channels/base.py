"""The family of channel mixers: (B, *grid, C) -> (B, *grid, C), token by token but for a few."""

from typing import Any, cast

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.state import State
from mixcodec.registry import Registry


class ChannelMixer(torch.nn.Module):
    """Mixes each token's channels, (..., C) -> (..., C), with no regard to other tokens: it needs no state.

    One that looks at a token's neighbours too (see `local.py`) keeps a mixer's contract: it says if it is `causal` and which
    `grid_ranks` it serves, and streams by `initial_state` and `step`, so that its `forward` is `step` from the beginning.
    """

    causal: bool = True
    grid_ranks: tuple[int, ...] = (1, 2, 3)

    def initial_state(self, batch: int) -> State:
        """The state before the first token: named tensors, batch first, all zero."""
        return {}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The next T tokens, (B, T, C) -> (B, T, C), and the state after them."""
        return self(x), {}


MOST = 1024  # times as many hidden channels as channels
CHANNELS: Registry[ChannelMixer] = Registry("channel mixer", outside=True)


def hidden_channels(channels: int, expansion: float) -> int:
    """`expansion` times `channels`, rounded. Raises ConfigError where that is none, or more than MOST times as many."""
    if isinstance(expansion, bool) or not isinstance(expansion, int | float):
        raise ConfigError(f"expansion is {expansion!r}, but must be a number")
    if not channels * expansion >= 1 or expansion > MOST:
        told = f"must be at most {MOST} and leave at least one of {channels} channels"
        raise ConfigError(f"expansion is {expansion!r}, but {told}")
    return round(channels * expansion)


class _WithLoss(torch.autograd.Function):
    """y as it is; its gradient brings that of `loss` along, as if the loss were part of what is minimised."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradients[0], gradients[0].new_ones(())


def with_loss(y: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    """y, whose gradient brings that of `loss` () along: so a part adds to what is minimised, and who uses it need not know."""
    return cast(torch.Tensor, _WithLoss.apply(y, loss))
