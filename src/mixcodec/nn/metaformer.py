"""The MetaFormer: block, stage, stack."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.state import State, inside, outside, scoped
from mixcodec.registry import nearest, whole_number


class GridNorm(torch.nn.GroupNorm):
    """The numbers of all tokens and channels of an item normed together, (B, *grid, C) -> the same: it sees the whole grid.

    PoolFormer's (Yu et al., 2022, MetaFormer Is Actually What You Need for Vision).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


NORMS: dict[str, Callable[[int], torch.nn.Module]] = {
    "layer": torch.nn.LayerNorm,
    "rms": functools.partial(torch.nn.RMSNorm, eps=1e-5),
    "grid": GridNorm,
}


class Block(torch.nn.Module):
    """x + a * mixer(norm(x)), then x + b * channel(norm(x)), with learned scales a and b a channel.

    Yu et al., 2022, MetaFormer Is Actually What You Need for Vision; the scales are LayerScale (Touvron et al., 2021,
    Going deeper with Image Transformers). The `norm` is of each token, `layer` or `rms` (Zhang and Sennrich, 2019, Root Mean
    Square Layer Normalization), or of the `grid`. With `residual` there are learned scales of x too, one at the start (Yu et
    al., 2022, MetaFormer Baselines for Vision). A mixer that wants to know is told that it is `layer`, from 0, of `layers`.
    State: the mixer's, and under `channel.` that of a channel mixer that has one. Raises ConfigError for an unknown norm, and
    for that of the grid where the mixer is causal.
    """

    def __init__(
        self,
        channels: int,
        mixer: Mapping[str, Any] | str,
        channel: Mapping[str, Any] | str,
        scale: float = 0.1,
        norm: str = "layer",
        residual: bool = False,
        layer: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(norm, str) or norm not in NORMS:
            raise ConfigError(f"a stage has no norm {norm!r}: {nearest(str(norm), list(NORMS))}")
        self.mixer_norm = NORMS[norm](channels)
        self.mixer = MIXERS.build(mixer, channels=channels, layer=layer, layers=layers)
        self.mixer_scale = torch.nn.Parameter(torch.full((channels,), scale))
        self.channel_norm = NORMS[norm](channels)
        self.channel = CHANNELS.build(channel, channels=channels)
        self.channel_scale = torch.nn.Parameter(torch.full((channels,), scale))
        if norm == "grid" and self.mixer.causal:
            raise ConfigError("a stage's norm is 'grid', which sees the whole signal, but its mixer is causal: take 'layer'")
        if not isinstance(residual, bool):
            raise ConfigError(f"a stage's residual is {residual!r}, but must be true or false")
        self.mixer_residual = torch.nn.Parameter(torch.ones(channels)) if residual else None
        self.channel_residual = torch.nn.Parameter(torch.ones(channels)) if residual else None

    def initial_state(self, batch: int) -> State:
        return self.mixer.initial_state(batch) | scoped("channel", self.channel.initial_state(batch))

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, after = self.mixer.step(self.mixer_norm(x), outside("channel", state))
        x = _sum(x, self.mixer_residual, y, self.mixer_scale)
        y, local = self.channel.step(self.channel_norm(x), inside("channel", state))
        return _sum(x, self.channel_residual, y, self.channel_scale), after | scoped("channel", local)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _sum(x, self.mixer_residual, self.mixer(self.mixer_norm(x)), self.mixer_scale)
        return _sum(x, self.channel_residual, self.channel(self.channel_norm(x)), self.channel_scale)


def _sum(x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (x if residual is None else residual * x) + scale * y


BLOCK_OPTIONS = ["mixer", "channel", "norm", "residual"]
STAGE_OPTIONS = ["depth", *BLOCK_OPTIONS]


class Stack(torch.nn.Module):
    """Linear in, blocks stage by stage, norm, linear out: (B, *grid, inputs) -> (B, *grid, outputs).

    A stage is `{"depth": 4, "mixer": {...}, "channel": {...}}`: that many equal blocks, whose `norm` and `residual` it
    can give too. A stack is causal if all its mixers and channel mixers are, and then streams: the state of block i is found
    under `i.`.
    """

    def __init__(self, inputs: int, outputs: int, width: int, stages: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        whole_number("width", width)
        if not isinstance(stages, list | tuple):
            raise ConfigError(f"stages is {stages!r}, but must be a list of mappings with a mixer and a channel mixer")
        plans: list[dict[str, Any]] = []
        for stage in stages:
            if not isinstance(stage, Mapping):
                raise ConfigError(f"a stage is a mapping with a mixer and a channel mixer, not {stage!r}")
            for name in stage:
                if name not in STAGE_OPTIONS:
                    raise ConfigError(f"a stage has no option {name!r}: {nearest(name, STAGE_OPTIONS)}")
            if missing := [name for name in ("mixer", "channel") if name not in stage]:
                raise ConfigError(f"a stage needs {' and '.join(missing)}")
            whole_number("depth of a stage", stage.get("depth", 1))
            plans += [{name: stage[name] for name in BLOCK_OPTIONS if name in stage}] * stage.get("depth", 1)
        blocks = [Block(width, **plan, layer=i, layers=len(plans)) for i, plan in enumerate(plans)]
        self.enter = torch.nn.Linear(inputs, width)
        self.blocks = cast(Sequence[Block], torch.nn.ModuleList(blocks))
        self.norm = torch.nn.LayerNorm(width)
        self.leave = torch.nn.Linear(width, outputs)

    @property
    def causal(self) -> bool:
        return all(block.mixer.causal and block.channel.causal for block in self.blocks)

    @property
    def grid_ranks(self) -> tuple[int, ...]:
        """The ranks that every mixer and channel mixer serves."""
        parts = [part for block in self.blocks for part in (block.mixer, block.channel)]
        return tuple(r for r in (1, 2, 3) if all(r in part.grid_ranks for part in parts))

    def initial_state(self, batch: int) -> State:
        state: State = {}
        for i, block in enumerate(self.blocks):
            state |= scoped(str(i), block.initial_state(batch))
        return state

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        x = self.enter(x)
        after: State = {}
        for i, block in enumerate(self.blocks):
            x, new = block.step(x, inside(str(i), state))
            after |= scoped(str(i), new)
        return self.leave(self.norm(x)), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x))
