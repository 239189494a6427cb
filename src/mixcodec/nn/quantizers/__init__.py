"""Vector quantizers: one file a family."""

from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.codebook_features import CodebookFeatures
from mixcodec.nn.quantizers.continuous import NoBottleneck, Vae
from mixcodec.nn.quantizers.dropout import Dropout
from mixcodec.nn.quantizers.frozen_bank import FrozenBank
from mixcodec.nn.quantizers.fsq import Fsq
from mixcodec.nn.quantizers.group_residual import GroupResidual
from mixcodec.nn.quantizers.lfq import Lfq
from mixcodec.nn.quantizers.masked_residual import MaskedResidual
from mixcodec.nn.quantizers.multi_scale import MergedResidual, MultiScale
from mixcodec.nn.quantizers.reduced import Reduced
from mixcodec.nn.quantizers.residual import Residual
from mixcodec.nn.quantizers.scalar import Scalar
from mixcodec.nn.quantizers.semantic_split import SemanticSplit
from mixcodec.nn.quantizers.simvq import SimVq
from mixcodec.nn.quantizers.tail_drop import TailDrop
from mixcodec.nn.quantizers.vq import Vq
from mixcodec.nn.quantizers.vq_gradient import VqGradient

__all__ = [
    "QUANTIZERS",
    "CodebookFeatures",
    "Dropout",
    "FrozenBank",
    "Fsq",
    "GroupResidual",
    "Lfq",
    "MaskedResidual",
    "MergedResidual",
    "MultiScale",
    "NoBottleneck",
    "Quantized",
    "Quantizer",
    "Reduced",
    "Residual",
    "Scalar",
    "SemanticSplit",
    "SimVq",
    "TailDrop",
    "Vae",
    "Vq",
    "VqGradient",
]
