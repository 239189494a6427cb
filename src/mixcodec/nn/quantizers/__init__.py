"""Vector quantizers: one file a family."""

from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.residual import Residual
from mixcodec.nn.quantizers.vq import Vq

__all__ = ["QUANTIZERS", "Quantized", "Quantizer", "Residual", "Vq"]
