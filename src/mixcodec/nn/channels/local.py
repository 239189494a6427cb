"""Channel mixers with a small convolution among their neighbours in them."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, hidden_channels
from mixcodec.nn.contract import Checked
from mixcodec.nn.mixers.base import kernel_size, ranks
from mixcodec.nn.mixers.branches import Edges
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


class LocalChannel(Checked, ChannelMixer):
    """A channel mixer with one convolution, causal along time or centred on a grid; its state is the convolution's."""

    convolution: Depthwise

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The body of `step`; with an empty state of `forward` of the centred form."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> State:
        self._must_stream()
        return self.convolution.initial_state(batch)

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        self._must_stream()
        return self.mix(x, state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x, self.convolution.initial_state(x.shape[0]))[0]

    def _must_stream(self) -> None:
        if not self.causal:
            raise ConfigError(f"{type(self).__name__} is not causal here, so it can't stream")


@CHANNELS.register("conv_glu")
class ConvGlu(LocalChannel):
    """down(gelu(convolve(a)) * b) with (a, b) = up(x): a gated linear unit whose gate sees the neighbours.

    Shi, 2023, TransNeXt: Robust Foveal Visual Perception for Vision Transformers. Each token has a gate of its own, made from
    what is nearest to it: a channel attention that is local. (B, *grid, C), causal along time (`kernel` tokens) or centred on
    a grid of `rank` 1 or 2. Cost per token: 3 * expansion * C^2 + expansion * C * kernel^rank. State: the gates' last
    kernel - 1 inputs.
    """

    def __init__(self, channels: int, expansion: float = 8 / 3, kernel: int = 3, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("conv_glu", causal, rank, family="channel mixer")
        kernel_size("conv_glu", kernel, causal, family="channel mixer")
        hidden = hidden_channels(channels, expansion)
        self.causal = causal
        self.up = torch.nn.Linear(channels, 2 * hidden)
        self.convolution = Depthwise(hidden, kernel, causal, rank, bias=True)
        self.down = torch.nn.Linear(hidden, channels)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        gate, value = self.up(x).chunk(2, -1)
        gate, state = self.convolution.step(gate, state)
        return self.down(F.gelu(gate) * value), state


@CHANNELS.register("edge_mlp")
class EdgeMlp(LocalChannel):
    """down(h + gelu(convolve(h))) with h = gelu(up(x)): a perceptron that takes care of edges on its way.

    The edge-preserving feed-forward network of Wu et al., 2024, Transforming Image Super-Resolution: A ConvFormer-based
    Efficient Approach (CFSR). The depthwise convolution has branches of fixed first and second differences, learned in
    size, which with its own taps are one kernel. (B, *grid, C), causal along time or centred on a grid of `rank` 1 or 2.
    Cost per token: 2 * expansion * C^2 + expansion * C * kernel^rank. State: the last kernel - 1 of h.
    """

    def __init__(self, channels: int, expansion: float = 4, kernel: int = 3, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("edge_mlp", causal, rank, family="channel mixer")
        kernel_size("edge_mlp", whole_number("channel mixer 'edge_mlp': kernel", kernel, 3), causal, family="channel mixer")
        hidden = hidden_channels(channels, expansion)
        self.causal = causal
        self.up = torch.nn.Linear(channels, hidden)
        self.convolution = Edges(hidden, kernel, causal, rank)
        self.down = torch.nn.Linear(hidden, channels)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        hidden = F.gelu(self.up(x))
        edges, state = self.convolution.step(hidden, state)
        return self.down(hidden + F.gelu(edges)), state
