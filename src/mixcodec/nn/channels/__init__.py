"""Channel mixers: what a block does to each token alone."""

from mixcodec.nn.channels.base import CHANNELS
from mixcodec.nn.channels.gated import Gated
from mixcodec.nn.channels.mlp import Mlp

__all__ = ["CHANNELS", "Gated", "Mlp"]
