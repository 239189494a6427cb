"""Token mixers: one file a family."""

from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, Mixer
from mixcodec.nn.mixers.convolution import Convolution
from mixcodec.nn.mixers.pooling import Pooling

__all__ = ["MIXERS", "Attention", "Convolution", "Mixer", "Pooling"]
