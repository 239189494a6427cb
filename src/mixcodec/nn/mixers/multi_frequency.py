"""Every channel by a path of high and one of low frequency."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, TwoForms, divides, kernel_size, ranks
from mixcodec.nn.mixers.branches import GroupBranches
from mixcodec.nn.mixers.inception import attend_pooled
from mixcodec.nn.mixers.pooling import Pooling
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import share as a_share
from mixcodec.registry import whole_number


@MIXERS.register("multi_frequency")
class MultiFrequency(TwoForms):
    """out([high, low]): attention among means gives the low frequencies; a convolution of these and the tokens the high ones.

    Tan et al., 2023, FMViT: A multiple-frequency mixing Vision Transformer. The convolution has `groups` groups of channels
    and several branches while it learns (of `kernel` taps, of one, the token itself), which are one kernel. `share` of
    the channels carries the low frequencies. (B, *grid, C) of `rank` 1 or 2: attention of all means of `pool` tokens an
    axis, quadratic in their number; causal along time: the mean of the last `pool` tokens, attention over a `window` of
    them. Cost per token, L = share * C: 2 * C^2 + 3 * C * L + C^2 * kernel^rank / groups, and the attention's 4 * L^2 +
    2 * window * L (not causal: (4 * L^2 + 2 * L * means) / pool^rank). State: the last pool - 1 low tokens, the attention's
    keys and values of `window` tokens, which of both are real, and the convolution's last kernel - 1 inputs.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 2,
        share: float = 0.5,
        groups: int = 4,
        kernel: int = 3,
        pool: int = 2,
        window: int = 50,
        causal: bool = True,
        rank: int = 1,
    ) -> None:
        super().__init__()
        self.grid_ranks = ranks("multi_frequency", causal, rank)
        kernel_size("multi_frequency", kernel, causal)
        divides("multi_frequency", channels, groups, "groups")
        whole_number("mixer 'multi_frequency': pool", pool, 2, 64)
        whole_number("mixer 'multi_frequency': heads", heads)
        low = max(1, round(a_share("mixer 'multi_frequency': share", share) * channels / (2 * heads))) * 2 * heads
        if not 0 < low < channels:
            raise ConfigError(f"mixer 'multi_frequency': share {share} gives {low} of {channels} channels to {heads} heads")
        self.causal, self.pool, self.growth = causal, pool, "linear" if causal else "quadratic"
        self.enter = torch.nn.Linear(channels, low)
        self.mean = Pooling(low, pool) if causal else None
        self.attention = Attention(low, heads, window)
        self.blend = torch.nn.Linear(channels + low, channels)
        self.convolution = GroupBranches(channels, kernel, groups, causal, rank)
        self.out = torch.nn.Linear(channels + low, channels)

    def start(self, batch: int) -> State:
        parts = {name: getattr(self, name) for name in ("mean", "attention", "convolution")}
        states = {name: part.initial_state(batch) for name, part in parts.items()}
        return {name: t for prefix, state in states.items() for name, t in scoped(prefix, state).items()}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        low = self.enter(x)
        after: State = {}
        if self.mean:
            mean, new = self.mean.step(low, inside("mean", state))
            after |= scoped("mean", new)
            low, new = self.attention.step(mean + low, inside("attention", state))
            after |= scoped("attention", new)
        else:
            low = attend_pooled(self.attention, low, self.pool)
        high, new = self.convolution.step(self.blend(torch.cat([x, low], -1)), inside("convolution", state))
        return self.out(torch.cat([F.gelu(high), low], -1)), after | scoped("convolution", new)
