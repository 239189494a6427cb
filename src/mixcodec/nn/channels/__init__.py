"""Channel mixers: what a block does to each token alone."""

from mixcodec.nn.channels.base import CHANNELS
from mixcodec.nn.channels.bottleneck import Bottleneck
from mixcodec.nn.channels.gated import Gated
from mixcodec.nn.channels.glu import Glu
from mixcodec.nn.channels.mlp import Mlp
from mixcodec.nn.channels.star import StarMlp, StarReLU

__all__ = ["CHANNELS", "Bottleneck", "Gated", "Glu", "Mlp", "StarMlp", "StarReLU"]
