"""Convolutions of several branches, whose sum is one kernel: many paths to learn by, one to compute."""

from typing import Any

import torch

from mixcodec.nn.mixers.parts import Depthwise

# Taps of a first and a second difference, on a line and on a plane (Sobel's two and Laplace's).
EDGES: dict[int, list[Any]] = {
    1: [[1.0, 0.0, -1.0], [1.0, -2.0, 1.0]],
    2: [
        [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]],
        [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]],
        [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]],
    ],
}


class Branches(Depthwise):
    """A `Depthwise` that is the sum of branches. Convolution is linear in its kernel, so the kernels are summed instead."""

    def place(self, small: torch.Tensor) -> torch.Tensor:
        """A smaller kernel (.., *taps) within zeros of this one's size: at its centre, or if causal at its end."""
        size = small.shape[-1]
        before = self.kernel - size if self.causal else (self.kernel - size) // 2
        return torch.nn.functional.pad(small, [before, self.kernel - size - before] * self.rank)

    def merged(self) -> Depthwise:
        """The same convolution without branches."""
        other = Depthwise(
            self.channels,
            self.kernel,
            self.causal,
            self.rank,
            self.dilation,
            self.delay,
            self.weight.shape[0],
            self.groups,
            self.bias is not None,
        )
        with torch.no_grad():
            other.weight.copy_(self.taps())
            if self.bias is not None and other.bias is not None:
                other.bias.copy_(self.bias)
        return other


class Edges(Branches):
    """A depthwise convolution, one of 3 taps, and scaled differences of the first and second order, which keep edges.

    Wu et al., 2024, Transforming Image Super-Resolution: A ConvFormer-based Efficient Approach. On a line the differences are
    [1, 0, -1] and [1, -2, 1], on a plane Sobel's and Laplace's filters. The kernel has at least 3 taps.
    """

    def __init__(self, channels: int, kernel: int = 3, causal: bool = True, rank: int = 1) -> None:
        super().__init__(channels, kernel, causal, rank, bias=True)
        self.edges: torch.Tensor
        self.register_buffer("edges", torch.tensor(EDGES[rank]), persistent=False)
        self.small = torch.nn.Parameter(torch.randn(channels, 1, *[3] * rank) * 0.02)
        self.scales = torch.nn.Parameter(torch.randn(channels, len(EDGES[rank])) * 0.02)

    def taps(self) -> torch.Tensor:
        edges = (self.scales @ self.edges.flatten(1).to(self.scales.dtype)).view_as(self.small)
        return self.weight + self.place(self.small + edges)


class GroupBranches(Branches):
    """A convolution in groups of channels, one of a single tap in the same groups, and the token itself, scaled.

    Tan et al., 2023, FMViT: A multiple-frequency mixing Vision Transformer, reparameterizes its convolutions so.
    """

    def __init__(self, channels: int, kernel: int, groups: int, causal: bool = True, rank: int = 1) -> None:
        super().__init__(channels, kernel, causal, rank, groups=groups, bias=True)
        size = channels // groups
        self.point = torch.nn.Parameter(torch.randn(channels, size) * 0.1 * size**-0.5)
        self.scale = torch.nn.Parameter(torch.ones(channels))
        own = torch.arange(channels) % size
        self.itself: torch.Tensor
        self.register_buffer("itself", torch.nn.functional.one_hot(own, size).float(), persistent=False)

    def taps(self) -> torch.Tensor:
        single = self.point + self.scale[:, None] * self.itself.to(self.scale.dtype)
        return self.weight + self.place(single.reshape(*single.shape, *[1] * self.rank))
