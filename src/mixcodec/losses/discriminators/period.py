"""Discriminators on the wave itself, folded at several periods, made of matrix products alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.losses.discriminators.base import DISCRIMINATORS, Outputs
from mixcodec.registry import whole_number

TAPS, STRIDE = 5, 3


class Period(torch.nn.Module):
    """Scores a wave (B, N) by its columns: samples that lie `period` apart, in layers that see 5 of them and leave a third."""

    def __init__(self, period: int, width: int, depth: int) -> None:
        super().__init__()
        self.period = period
        inputs = [TAPS] + [TAPS * width] * (depth - 1)
        self.score = torch.nn.Linear(width, 1)
        layers = [torch.nn.Linear(n, width) for n in inputs]
        for layer in layers:
            torch.nn.init.kaiming_normal_(layer.weight, 0.1)  # torch's own start lets a wave of low level fade away
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, wave: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        batch = len(wave)
        x = F.pad(wave, (0, -wave.shape[1] % self.period)).unflatten(1, (-1, self.period)).mT.flatten(0, 1)[..., None]
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(_around(x)), 0.1)
            features.append(x.unflatten(0, (batch, self.period)))
        return self.score(x).flatten(1).unflatten(0, (batch, self.period)).flatten(1), features


def _around(x: torch.Tensor) -> torch.Tensor:
    """Every STRIDE-th token of x (B, L, C) with its neighbours, TAPS in all: (B, (L - 1) // STRIDE + 1, TAPS * C)."""
    count = (x.shape[1] - 1) // STRIDE + 1
    x = F.pad(x, (0, 0, TAPS // 2, STRIDE * (count + 1) - x.shape[1] - TAPS // 2))
    blocks = x.unflatten(1, (-1, STRIDE))
    return torch.cat([blocks[:, :-1], blocks[:, 1:, : TAPS - STRIDE]], 2).mT.flatten(2)


@DISCRIMINATORS.register("multi_period")
class MultiPeriod(torch.nn.Module):
    """One `Period` for each of `periods` (samples): it hears what is out of step in voiced speech.

    Kong et al., 2020, HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis.
    """

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), width: int = 64, depth: int = 4) -> None:
        super().__init__()
        for period in periods:
            whole_number("discriminator 'multi_period': a period", period)
        self.columns = torch.nn.ModuleList(Period(period, width, depth) for period in periods)

    def forward(self, wave: torch.Tensor) -> Outputs:
        return [column(wave) for column in self.columns]


@DISCRIMINATORS.register("ensemble")
class Ensemble(torch.nn.Module):
    """Several discriminators, `members`, as one; each member's parts count alike."""

    def __init__(self, members: Sequence[Mapping[str, Any] | str] = ("multi_resolution", "multi_period")) -> None:
        super().__init__()
        if not members:
            raise ConfigError("discriminator 'ensemble': members must hold at least one discriminator")
        self.members = torch.nn.ModuleList(DISCRIMINATORS.build(member) for member in members)

    def forward(self, wave: torch.Tensor) -> Outputs:
        return [part for member in self.members for part in member(wave)]
