"""Discriminators: wave (B, N) -> a list of (scores, features)."""

from mixcodec.losses.discriminators.spectral import DISCRIMINATORS, MultiResolution

__all__ = ["DISCRIMINATORS", "MultiResolution"]
