"""The family of channel mixers: modules that map (..., C) to (..., C), token by token."""

import torch

from mixcodec.registry import Registry

CHANNELS: Registry[torch.nn.Module] = Registry("channel mixer")
