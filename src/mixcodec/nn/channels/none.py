"""No channel mixer."""

import torch

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer


@CHANNELS.register("none")
class NoChannel(ChannelMixer):
    """Nothing: a block has its token mixer alone, for one that mixes channels too, as `gated_convolution` and `ssm` do.

    Yu and Wang, 2024, MambaOut: Do We Really Need Mamba for Vision? stacks gated convolutions so; Gu and Dao, 2023, Mamba:
    Linear-Time Sequence Modeling with Selective State Spaces, state spaces. (..., C) -> zeros; no cost, no parameters.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * x  # not zeros_like, so that the block's norm has a gradient, zero
