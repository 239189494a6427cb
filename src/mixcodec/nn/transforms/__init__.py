"""Transforms at the edge: wave <-> frames of coefficients."""

from mixcodec.nn.transforms.base import TRANSFORMS, Transform
from mixcodec.nn.transforms.stft import Stft

__all__ = ["TRANSFORMS", "Stft", "Transform"]
