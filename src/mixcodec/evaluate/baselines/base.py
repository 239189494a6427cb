"""The one protocol of all that is compared: mixcodec itself, classical codecs, neural peers, anchors."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mixcodec.registry import Registry


class Coder(abc.ABC):
    """A codec at one operating point: wav file -> coded file -> wav file. What counts is the size of the coded file.

    The wav that it is given is 16-bit PCM at the rate of the evaluation; it resamples for itself. The wav that it
    returns may be of another rate, late or of another length: the harness resamples, takes out the delay and aligns.
    """

    kind: ClassVar[str]
    source: ClassVar[str]
    """What it is, and which program or package runs it here."""
    settings: ClassVar[str]
    """What the numbers after @ mean; empty where there are none."""
    takes_model: ClassVar[bool] = False
    """Whether there is something to name between kind and @."""
    suffix: ClassVar[str]
    """Of the coded file: some programs go by it."""

    def __init__(self, setting: float | None = None, model: str | None = None) -> None:
        self.setting = setting
        self.model = model

    @property
    def codec(self) -> str:
        """Whose operating points make one curve: kind, and model where there are several."""
        return self.kind if self.model is None else f"{self.kind}:{self.model}"

    @property
    def point(self) -> str:
        """The operating point: codec@setting."""
        return self.codec if self.setting is None else f"{self.codec}@{self.setting:g}"

    def check(self) -> None:  # noqa: B027 - the anchors need nothing
        """Raise a MixcodecError, in one line, where a program, a package, weights or the setting are missing or wrong."""

    def version(self) -> str:
        """Of the program or package that codes, as it says it itself."""
        return ""

    @abc.abstractmethod
    def encode(self, source: Path, target: Path) -> None:
        """Code the wav `source` into the file `target`."""

    @abc.abstractmethod
    def decode(self, source: Path, target: Path) -> None:
        """Decode the file `source` into the wav `target`."""

    def payload_bytes(self, coded: Path) -> int:
        """Bytes of the file without a container that is not the codec's own; by default all of them."""
        return coded.stat().st_size

    def codes(self, coded: Path) -> tuple[NDArray[np.int64], int] | None:
        """The codes (T, K) in a coded file, and the size of a codebook; None where there are none to be seen."""
        return None


CODERS: Registry[Coder] = Registry("codec", outside=True)
