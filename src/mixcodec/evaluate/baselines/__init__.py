"""What is compared: mixcodec, classical codecs, neural peers, anchors, all behind one protocol."""

from mixcodec.evaluate.baselines import anchors, classical, neural, own
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.evaluate.baselines.spec import parse_points

__all__ = ["CODERS", "Coder", "anchors", "classical", "neural", "own", "parse_points"]
