"""The family of channel mixers: modules that map (..., C) to (..., C), token by token."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.registry import Registry

CHANNELS: Registry[torch.nn.Module] = Registry("channel mixer")


def hidden_channels(channels: int, expansion: float) -> int:
    """`expansion` times `channels`, rounded. Raises ConfigError where that is none."""
    if isinstance(expansion, bool) or not isinstance(expansion, int | float) or not channels * expansion >= 1:
        raise ConfigError(f"expansion is {expansion!r}, but must be a number that leaves at least one of {channels} channels")
    return round(channels * expansion)
