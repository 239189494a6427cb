"""Token mixers: one file a family."""

from mixcodec.nn.mixers.additive import Additive
from mixcodec.nn.mixers.aggregated import Aggregated
from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, Mixer
from mixcodec.nn.mixers.conformer import Conformer
from mixcodec.nn.mixers.conv_attention import ConvAttention
from mixcodec.nn.mixers.convolution import Convolution
from mixcodec.nn.mixers.cosine import Dct
from mixcodec.nn.mixers.decay_attention import DecayAttention
from mixcodec.nn.mixers.dual_token import DualToken
from mixcodec.nn.mixers.ffn_attention import LargeKernelQkv
from mixcodec.nn.mixers.focal import Focal
from mixcodec.nn.mixers.fourier import Fourier
from mixcodec.nn.mixers.fsmn import Fsmn
from mixcodec.nn.mixers.gated_attention import GatedAttention
from mixcodec.nn.mixers.gated_convolution import GatedConvolution
from mixcodec.nn.mixers.gla import Gla
from mixcodec.nn.mixers.global_attention import GlobalAttention, MixedSpan
from mixcodec.nn.mixers.linear_attention import LinearAttention
from mixcodec.nn.mixers.lmu import Lmu
from mixcodec.nn.mixers.matrix import mixing_matrix, value_matrix
from mixcodec.nn.mixers.mixed_convolution import MixedConvolution
from mixcodec.nn.mixers.outlook import Outlook
from mixcodec.nn.mixers.overlapping import Overlapping
from mixcodec.nn.mixers.pooling import Pooling
from mixcodec.nn.mixers.retention import Retention
from mixcodec.nn.mixers.separable import Separable
from mixcodec.nn.mixers.shift import Shift
from mixcodec.nn.mixers.spectral import AdaptiveFilter, GlobalFilter
from mixcodec.nn.mixers.ssm import Ssd, Ssm
from mixcodec.nn.mixers.token_mlp import MixerMlp, NinGating
from mixcodec.nn.mixers.trivial import Identity, Random
from mixcodec.nn.mixers.wavelet import Wavelet

__all__ = [
    "MIXERS",
    "AdaptiveFilter",
    "Additive",
    "Aggregated",
    "Attention",
    "Conformer",
    "ConvAttention",
    "Convolution",
    "Dct",
    "DecayAttention",
    "DualToken",
    "Focal",
    "Fourier",
    "Fsmn",
    "GatedAttention",
    "GatedConvolution",
    "Gla",
    "GlobalAttention",
    "GlobalFilter",
    "Identity",
    "LargeKernelQkv",
    "LinearAttention",
    "Lmu",
    "MixedConvolution",
    "MixedSpan",
    "Mixer",
    "MixerMlp",
    "NinGating",
    "Outlook",
    "Overlapping",
    "Pooling",
    "Random",
    "Retention",
    "Separable",
    "Shift",
    "Ssd",
    "Ssm",
    "Wavelet",
    "mixing_matrix",
    "value_matrix",
]
