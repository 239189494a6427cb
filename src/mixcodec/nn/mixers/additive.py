"""Convolutional additive attention."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise, Mean
from mixcodec.nn.state import State, inside, scoped


class Context(TwoForms):
    """x times a gate for each token, made by a convolution, then times a gate for each channel, made by the mean."""

    def __init__(self, channels: int, kernel: int, causal: bool, rank: int) -> None:
        super().__init__()
        self.causal, self.grid_ranks = causal, (rank,)
        self.convolution = Depthwise(channels, kernel, causal, rank)
        self.norm = torch.nn.LayerNorm(channels)
        self.spatial = torch.nn.Linear(channels, 1, bias=False)
        self.mean = Mean(channels, causal)
        self.channel = torch.nn.Linear(channels, channels, bias=False)

    def start(self, batch: int) -> State:
        near, far = self.convolution.initial_state(batch), self.mean.initial_state(batch)
        return scoped("convolution", near) | scoped("mean", far)

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, near = self.convolution.step(x, inside("convolution", state))
        x = x * torch.sigmoid(self.spatial(F.relu(self.norm(y))))
        mean, far = self.mean.step(x, inside("mean", state))
        return x * torch.sigmoid(self.channel(mean)), scoped("convolution", near) | scoped("mean", far)


@MIXERS.register("additive")
class Additive(TwoForms):
    """out(convolve(context(q) + context(k)) * v): queries and keys are gated, added and convolved, never multiplied.

    Zhang et al., 2024, CAS-ViT: Convolutional Additive Self-attention Vision Transformers for Efficient Mobile Applications.
    The context is a gate for every token, made by a convolution, then one for every channel, made by the mean of all tokens
    (causal: of all so far); norms are over a token's channels. (B, *grid, C), causal along time or centred on a grid of
    `rank` 1 or 2. Cost per token: 6 * C^2 and 3 * C * kernel^rank. State: the last kernel - 1 tokens three times, and the
    sums and numbers of all so far.
    """

    def __init__(self, channels: int, kernel: int = 3, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("additive", causal, rank)
        kernel_size("additive", kernel, causal)
        self.causal = causal
        self.qkv = torch.nn.Linear(channels, 3 * channels, bias=False)
        self.query = Context(channels, kernel, causal, rank)
        self.key = Context(channels, kernel, causal, rank)
        self.convolution = Depthwise(channels, kernel, causal, rank, bias=True)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        parts = {"query": self.query.start(batch), "key": self.key.start(batch)}
        parts["convolution"] = self.convolution.initial_state(batch)
        return {name: t for prefix, state in parts.items() for name, t in scoped(prefix, state).items()}

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, query = self.query.mix(q, inside("query", state))
        k, key = self.key.mix(k, inside("key", state))
        y, near = self.convolution.step(q + k, inside("convolution", state))
        return self.out(y * v), scoped("query", query) | scoped("key", key) | scoped("convolution", near)
