"""Heads: the decoder's features -> wave."""

from mixcodec.nn.heads.base import HEADS, Head
from mixcodec.nn.heads.fine import Fine, Harmonic
from mixcodec.nn.heads.upsample import Upsample

__all__ = ["HEADS", "Fine", "Harmonic", "Head", "Upsample"]
