"""Vector quantizers: one file a family."""

from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.frozen_bank import FrozenBank
from mixcodec.nn.quantizers.fsq import Fsq
from mixcodec.nn.quantizers.group_residual import GroupResidual
from mixcodec.nn.quantizers.lfq import Lfq
from mixcodec.nn.quantizers.masked_residual import MaskedResidual
from mixcodec.nn.quantizers.residual import Residual
from mixcodec.nn.quantizers.scalar import Scalar
from mixcodec.nn.quantizers.simvq import SimVq
from mixcodec.nn.quantizers.vq import Vq
from mixcodec.nn.quantizers.vq_gradient import VqGradient

__all__ = [
    "QUANTIZERS",
    "FrozenBank",
    "Fsq",
    "GroupResidual",
    "Lfq",
    "MaskedResidual",
    "Quantized",
    "Quantizer",
    "Residual",
    "Scalar",
    "SimVq",
    "Vq",
    "VqGradient",
]
