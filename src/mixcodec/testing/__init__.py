"""The laws of the families, for parts of one's own: `check_mixer` and `check_quantizer` hold any registered kind to them.

>>> from mixcodec.testing import check_mixer
>>> check_mixer({"kind": "pooling", "size": 4}, exported=False)
"""

from mixcodec.testing.law import LawError
from mixcodec.testing.mixers import check_mixer
from mixcodec.testing.quantizers import check_quantizer

__all__ = ["LawError", "check_mixer", "check_quantizer"]
