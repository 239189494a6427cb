"""A head in the time domain: features are stretched step by step until there is one a sample."""

import math
from collections.abc import Sequence
from typing import cast

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.heads.base import HEADS, Head
from mixcodec.nn.mixers.scan import wide
from mixcodec.nn.state import State
from mixcodec.registry import whole_number


class Stretch(torch.nn.Module):
    """(B, T, C) -> (B, T * factor, width): a linear map to `factor` tokens, then x + W2 snake(W1 [x[t-k+1], ..., x[t]])."""

    def __init__(self, channels: int, width: int, factor: int, kernel: int) -> None:
        super().__init__()
        self.factor, self.width, self.kernel = factor, width, kernel
        self.spread = torch.nn.Linear(channels, factor * width)
        self.look = torch.nn.Linear(kernel * width, width)
        self.back = torch.nn.Linear(width, width)
        self.speed = torch.nn.Parameter(torch.ones(width))

    def initial_state(self, batch: int) -> torch.Tensor:
        return self.speed.new_zeros(batch, self.kernel - 1, self.width)

    def step(self, x: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.spread(x).unflatten(2, (self.factor, self.width)).flatten(1, 2)
        longer = torch.cat([past.to(x), x], 1)
        count = x.shape[1]
        seen = torch.cat([longer[:, i : i + count] for i in range(self.kernel)], 2)
        y = self.look(seen)
        y = y + torch.sin(self.speed * y).square() / (self.speed.abs() + 1e-3)
        return x + self.back(y), longer[:, count:]


@HEADS.register("upsample")
class Upsample(Head):
    """Tokens are stretched by `factors`, whose product is the hop, to `widths` channels each, and mapped to one sample.

    Snake activations x + sin(a x)^2 / a (Ziyin, Hartwig, Ueda, 2020, Neural networks fail to learn periodic functions and how to
    fix it; in codecs: Kumar et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN), causal windows of `kernel`
    tokens as matrix products. The control to the spectral heads: no Fourier transform. State: the last kernel - 1 tokens of each
    level; the delay of one frame is that of the encoder's window.
    """

    def __init__(
        self,
        hop: int,
        sample_rate: int,
        inputs: int = 256,
        factors: Sequence[int] = (8, 5, 4, 2),
        widths: Sequence[int] = (64, 32, 16, 8),
        kernel: int = 7,
    ) -> None:
        super().__init__()
        if math.prod(factors) != hop or len(factors) != len(widths):
            raise ConfigError(f"head 'upsample': factors {list(factors)} must multiply to the hop, {hop}, with as many widths")
        self.hop = self.delay = hop
        self.inputs = whole_number("head 'upsample': inputs", inputs)
        before = [inputs, *widths[:-1]]
        levels = [Stretch(*sizes, kernel) for sizes in zip(before, widths, factors, strict=True)]
        self.levels = cast(Sequence[Stretch], torch.nn.ModuleList(levels))
        self.out = torch.nn.Linear(widths[-1], 1)

    def initial_state(self, batch: int) -> State:
        return {f"{i}.past": level.initial_state(batch) for i, level in enumerate(self.levels)}

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        after = {}
        for i, level in enumerate(self.levels):
            x, after[f"{i}.past"] = level.step(x, state[f"{i}.past"])
        return wide(self.out(x)[..., 0]), after
