"""Discriminators: wave (B, N) -> a list of (scores, features)."""

from mixcodec.losses.discriminators.base import DISCRIMINATORS, Outputs
from mixcodec.losses.discriminators.period import Ensemble, MultiPeriod
from mixcodec.losses.discriminators.spectral import MultiResolution

__all__ = ["DISCRIMINATORS", "Ensemble", "MultiPeriod", "MultiResolution", "Outputs"]
