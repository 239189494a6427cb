"""Perceptrons over the tokens: MLP-Mixer, and the gates that one makes."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.mlp import Mlp
from mixcodec.nn.mixers.base import MADE, MIXERS, TwoForms
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


class TokenMlp(torch.nn.Module):
    """Linear, GELU, linear over the tokens, the same for every channel.

    Not causal: from `size` tokens to `size` tokens. Causal: from a token and the size - 1 before it to itself, that is the
    last row of the perceptron, moved along; places before the signal are zero. State: the last size - 1 tokens.
    """

    def __init__(self, kind: str, channels: int, size: int, hidden: int, causal: bool) -> None:
        super().__init__()
        whole_number(f"mixer {kind!r}: size", size, 2, 1 << 14)
        whole_number(f"mixer {kind!r}: hidden", hidden)
        self.kind, self.channels, self.size, self.causal = kind, channels, size, causal
        self.inner = torch.nn.Linear(size, hidden)
        self.outer = torch.nn.Linear(hidden, 1 if causal else size)

    def initial_state(self, batch: int) -> State:
        return {"past": self.inner.weight.new_zeros(batch, self.size - 1, self.channels)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not self.causal:
            tokens = x.flatten(1, -2)
            if tokens.shape[1] != self.size:
                raise ConfigError(
                    f"mixer {self.kind!r} was made for {self.size} tokens, not {tokens.shape[1]}: set size, or causal to true"
                )
            y = self.outer(F.gelu(self.inner(tokens.mT)))
            return y.mT.reshape(x.shape), {}
        seen = torch.cat([state["past"].to(x.dtype), x], 1)
        rows = seen.mT.reshape(-1, 1, seen.shape[1])  # each channel is a signal of its own
        hidden = F.conv1d(rows, self.inner.weight[:, None], self.inner.bias)
        y = F.conv1d(F.gelu(hidden), self.outer.weight[..., None], self.outer.bias)
        y = y.reshape(-1, self.channels, x.shape[1]).mT
        return y, {"past": seen[:, -(self.size - 1) :]}


@MIXERS.register("mixer_mlp")
class MixerMlp(TwoForms):
    """A perceptron over the tokens; with `gate` each token's channels are then weighted by a softmax of a linear map of them.

    Tolstikhin et al., 2021, MLP-Mixer: An all-MLP Architecture for Vision; the gate: Ekambaram et al., 2023, TSMixer:
    Lightweight MLP-Mixer Model for Multivariate Time Series Forecasting (here times C, so that even weights change nothing).
    (B, *grid, C) of `size` tokens in all, or causal over the last `size` tokens. Cost per token: 2 * hidden * C (causal:
    hidden * (size + 1) * C) and C^2 for the gate. State: the last size - 1 tokens.
    """

    exports = MADE

    def __init__(self, channels: int, size: int = 16, hidden: int = 32, gate: bool = True, causal: bool = True) -> None:
        super().__init__()
        self.causal = causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.tokens = TokenMlp("mixer_mlp", channels, size, hidden, causal)
        self.gate = torch.nn.Linear(channels, channels) if gate else None

    def start(self, batch: int) -> State:
        return self.tokens.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.tokens.step(x, state)
        if self.gate:
            y = y * self.gate(y).softmax(-1) * y.shape[-1]
        return y, state


@MIXERS.register("nin_gating")
class NinGating(TwoForms):
    """linear(x) * gate, the gate made of x by a whole block of MLP-Mixer: a network within the network.

    Abdullah and Sun, 2024, NiNformer: A Network in Network Transformer with Token Mixing Generated Gating Function. The block
    is u = x + tokens(norm(x)), gate = u + channels(norm(u)), a perceptron over the tokens and one with `expansion` times the
    channels between over each token's. Unlike MLP-Mixer's, the weights between tokens depend on the input. (B, *grid, C) of
    `size` tokens in all, or causal over the last `size` tokens. Cost per token: as `mixer_mlp`'s without its gate, C^2 and
    2 * expansion * C^2. State: the last size - 1 tokens, normed.
    """

    exports = MADE

    def __init__(self, channels: int, size: int = 16, hidden: int = 32, causal: bool = True, expansion: float = 1) -> None:
        super().__init__()
        self.causal = causal
        self.grid_ranks = (1,) if causal else (1, 2, 3)
        self.norm = torch.nn.LayerNorm(channels)
        self.tokens = TokenMlp("nin_gating", channels, size, hidden, causal)
        self.channel_norm = torch.nn.LayerNorm(channels)
        self.channels = Mlp(channels, expansion, exact=True)
        self.linear_map = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return self.tokens.initial_state(batch)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.tokens.step(self.norm(x), state)
        gate = x + y
        gate = gate + self.channels(self.channel_norm(gate))
        return self.linear_map(x) * gate, state
