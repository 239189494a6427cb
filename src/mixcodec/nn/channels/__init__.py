"""Channel mixers: what a block does to each token alone, or nearly so."""

from mixcodec.nn.channels.base import CHANNELS, ChannelMixer
from mixcodec.nn.channels.bottleneck import Bottleneck
from mixcodec.nn.channels.experts import Experts
from mixcodec.nn.channels.gated import Gated
from mixcodec.nn.channels.glu import Glu
from mixcodec.nn.channels.local import ConvGlu, EdgeMlp
from mixcodec.nn.channels.mlp import Mlp
from mixcodec.nn.channels.none import NoChannel
from mixcodec.nn.channels.star import StarMlp, StarReLU

__all__ = [
    "CHANNELS",
    "Bottleneck",
    "ChannelMixer",
    "ConvGlu",
    "EdgeMlp",
    "Experts",
    "Gated",
    "Glu",
    "Mlp",
    "NoChannel",
    "StarMlp",
    "StarReLU",
]
