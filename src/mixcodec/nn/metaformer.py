"""The MetaFormer: block, stage, stack."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.state import State, inside, outside, scoped
from mixcodec.registry import nearest, whole_number


class Block(torch.nn.Module):
    """x + a * mixer(norm(x)), then x + b * channel(norm(x)), with learned scales a and b a channel.

    Yu et al., 2022, MetaFormer Is Actually What You Need for Vision; the scales are LayerScale (Touvron et al., 2021,
    Going deeper with Image Transformers). A mixer that wants to know is told that it is `layer`, from 0, of `layers`.
    State: the mixer's, and under `channel.` that of a channel mixer that has one.
    """

    def __init__(
        self,
        channels: int,
        mixer: Mapping[str, Any] | str,
        channel: Mapping[str, Any] | str,
        scale: float = 0.1,
        layer: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.mixer_norm = torch.nn.LayerNorm(channels)
        self.mixer = MIXERS.build(mixer, channels=channels, layer=layer, layers=layers)
        self.mixer_scale = torch.nn.Parameter(torch.full((channels,), scale))
        self.channel_norm = torch.nn.LayerNorm(channels)
        self.channel = CHANNELS.build(channel, channels=channels)
        self.channel_scale = torch.nn.Parameter(torch.full((channels,), scale))

    def initial_state(self, batch: int) -> State:
        return self.mixer.initial_state(batch) | scoped("channel", self.channel.initial_state(batch))

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, after = self.mixer.step(self.mixer_norm(x), outside("channel", state))
        x = x + self.mixer_scale * y
        y, local = self.channel.step(self.channel_norm(x), inside("channel", state))
        return x + self.channel_scale * y, after | scoped("channel", local)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.mixer_scale * self.mixer(self.mixer_norm(x))
        return x + self.channel_scale * self.channel(self.channel_norm(x))


STAGE_OPTIONS = ["depth", "mixer", "channel"]


class Stack(torch.nn.Module):
    """Linear in, blocks stage by stage, norm, linear out: (B, *grid, inputs) -> (B, *grid, outputs).

    A stage is `{"depth": 4, "mixer": {...}, "channel": {...}}`: that many equal blocks. A stack is causal if all its
    mixers and channel mixers are, and then streams: the state of block i is found under `i.`.
    """

    def __init__(self, inputs: int, outputs: int, width: int, stages: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        whole_number("width", width)
        plans: list[tuple[Any, Any]] = []
        for stage in stages:
            if not isinstance(stage, Mapping):
                raise ConfigError(f"a stage is a mapping with a mixer and a channel mixer, not {stage!r}")
            for name in stage:
                if name not in STAGE_OPTIONS:
                    raise ConfigError(f"a stage has no option {name!r}: {nearest(name, STAGE_OPTIONS)}")
            if missing := [name for name in ("mixer", "channel") if name not in stage]:
                raise ConfigError(f"a stage needs {' and '.join(missing)}")
            whole_number("depth of a stage", stage.get("depth", 1))
            plans += [(stage["mixer"], stage["channel"])] * stage.get("depth", 1)
        blocks = [Block(width, *plan, layer=i, layers=len(plans)) for i, plan in enumerate(plans)]
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
