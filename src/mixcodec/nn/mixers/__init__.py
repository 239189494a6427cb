"""Token mixers: one file a family."""

from mixcodec.nn.mixers.additive import Additive
from mixcodec.nn.mixers.aggregated import Aggregated
from mixcodec.nn.mixers.attention import Attention
from mixcodec.nn.mixers.base import MIXERS, Mixer
from mixcodec.nn.mixers.combiner import Combiner
from mixcodec.nn.mixers.conformer import Conformer
from mixcodec.nn.mixers.conv_attention import ConvAttention
from mixcodec.nn.mixers.convolution import Convolution
from mixcodec.nn.mixers.cosine import Dct
from mixcodec.nn.mixers.cost import Cost, cost
from mixcodec.nn.mixers.decay_attention import DecayAttention
from mixcodec.nn.mixers.dual_selection import DualSelection
from mixcodec.nn.mixers.dual_token import DualToken
from mixcodec.nn.mixers.ffn_attention import LargeKernelQkv
from mixcodec.nn.mixers.focal import Focal
from mixcodec.nn.mixers.fourier import Fourier
from mixcodec.nn.mixers.fsmn import Fsmn
from mixcodec.nn.mixers.gated_attention import GatedAttention
from mixcodec.nn.mixers.gated_convolution import GatedConvolution
from mixcodec.nn.mixers.gla import Gla
from mixcodec.nn.mixers.global_attention import GlobalAttention, MixedSpan
from mixcodec.nn.mixers.hidden_state import HiddenState
from mixcodec.nn.mixers.hydra import Hydra
from mixcodec.nn.mixers.inception import Inception
from mixcodec.nn.mixers.interleaved import Interleaved
from mixcodec.nn.mixers.linear_attention import GeneralisedLinear, LinearAttention, SimplifiedLinear
from mixcodec.nn.mixers.lmu import Lmu
from mixcodec.nn.mixers.lococo import LoCoCo
from mixcodec.nn.mixers.matrix import mixing_matrix, value_matrix
from mixcodec.nn.mixers.mixed_convolution import MixedConvolution
from mixcodec.nn.mixers.modulation import EdgeModulation
from mixcodec.nn.mixers.multi_frequency import MultiFrequency
from mixcodec.nn.mixers.multi_pooling import MultiPooling
from mixcodec.nn.mixers.outlook import Outlook
from mixcodec.nn.mixers.overlapping import Overlapping
from mixcodec.nn.mixers.pooling import Pooling
from mixcodec.nn.mixers.raft import Raft
from mixcodec.nn.mixers.retention import Retention
from mixcodec.nn.mixers.separable import Separable
from mixcodec.nn.mixers.shift import Shift
from mixcodec.nn.mixers.shuffle import Shuffle
from mixcodec.nn.mixers.spectral import AdaptiveFilter, GlobalFilter
from mixcodec.nn.mixers.ssm import Ssd, Ssm
from mixcodec.nn.mixers.token_mlp import MixerMlp, NinGating
from mixcodec.nn.mixers.trivial import Identity, Random
from mixcodec.nn.mixers.vq_attention import VqAttention
from mixcodec.nn.mixers.wavelet import Wavelet

__all__ = [
    "MIXERS",
    "AdaptiveFilter",
    "Additive",
    "Aggregated",
    "Attention",
    "Combiner",
    "Conformer",
    "ConvAttention",
    "Convolution",
    "Cost",
    "Dct",
    "DecayAttention",
    "DualSelection",
    "DualToken",
    "EdgeModulation",
    "Focal",
    "Fourier",
    "Fsmn",
    "GatedAttention",
    "GatedConvolution",
    "GeneralisedLinear",
    "Gla",
    "GlobalAttention",
    "GlobalFilter",
    "HiddenState",
    "Hydra",
    "Identity",
    "Inception",
    "Interleaved",
    "LargeKernelQkv",
    "LinearAttention",
    "Lmu",
    "LoCoCo",
    "MixedConvolution",
    "MixedSpan",
    "Mixer",
    "MixerMlp",
    "MultiFrequency",
    "MultiPooling",
    "NinGating",
    "Outlook",
    "Overlapping",
    "Pooling",
    "Raft",
    "Random",
    "Retention",
    "Separable",
    "Shift",
    "Shuffle",
    "SimplifiedLinear",
    "Ssd",
    "Ssm",
    "VqAttention",
    "Wavelet",
    "cost",
    "mixing_matrix",
    "value_matrix",
]
