"""Selection across the tokens and across the channels."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch

from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, ranks
from mixcodec.nn.mixers.ssm import Ssm
from mixcodec.nn.state import State, inside, scoped


def scans(parts: Iterable[Ssm]) -> Sequence[Ssm]:
    """A ModuleList that says what is in it."""
    return cast(Sequence[Ssm], torch.nn.ModuleList(parts))


@MIXERS.register("dual_selection")
class DualSelection(TwoForms):
    """y + channels(norm(y)) with y = tokens(x): selective state spaces along the tokens, then along a token's channels.

    Behrouz et al., 2024, MambaMixer: Efficient Selective State Space Models with Dual Token and Channel Selection. The second
    reads a token's channels as a sequence of `groups` vectors, from both ends, with no regard to other tokens. The first is
    `ssm`, causal along time, or from both ends along each axis of a grid of `rank` 1 or 2. (The authors also feed each
    block a learned mean of the outputs of all blocks before it; here that is the stack's affair.) (B, *grid, C). Cost per
    token: that of `ssm` 1 or 2 * rank times, and 2 * groups times that of one of C / groups channels. State: that of `ssm`.
    """

    def __init__(
        self,
        channels: int,
        groups: int = 4,
        states: int = 8,
        expansion: int = 1,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("dual_selection", causal, rank)
        size = divides("dual_selection", channels, groups, "groups")
        self.causal, self.count = causal, groups
        self.tokens = scans(Ssm(channels, states, expansion) for _ in range(1 if causal else 2 * rank))
        self.norm = torch.nn.LayerNorm(channels)
        self.groups = scans(Ssm(size, states, expansion) for _ in range(2))

    def start(self, batch: int) -> State:
        return scoped("tokens", self.tokens[0].initial_state(batch))

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        after: State = {}
        if self.causal:
            y, new = self.tokens[0].step(x, inside("tokens", state))
            after = scoped("tokens", new)
        else:
            y = torch.zeros_like(x)
            for i, part in enumerate(self.tokens):
                y = y + self.along(part, x, 1 + i // 2, bool(i % 2))
        sequence = self.norm(y).flatten(0, -2).unflatten(-1, (self.count, -1))  # (tokens of all items, groups, C / groups)
        mixed = self.groups[0](sequence) + self.groups[1](sequence.flip(1)).flip(1)
        return y + mixed.reshape(y.shape), after

    def along(self, part: torch.nn.Module, x: torch.Tensor, last: int, back: bool) -> torch.Tensor:
        """`part` over the tokens in the order in which axis `last` turns fastest, from the end if `back`."""
        turned = x.movedim(last, -2)
        tokens = turned.flatten(1, -2)
        y = part(tokens.flip(1)).flip(1) if back else part(tokens)
        return y.view_as(turned).movedim(-2, last)
