"""What every discriminator promises: wave (B, N) -> scores and features of each of its parts."""

from collections.abc import Sequence

import torch

from mixcodec.registry import Registry

Outputs = Sequence[tuple[torch.Tensor, Sequence[torch.Tensor]]]
"""Of each part: scores, features."""

DISCRIMINATORS: Registry[torch.nn.Module] = Registry("discriminator", outside=True)
