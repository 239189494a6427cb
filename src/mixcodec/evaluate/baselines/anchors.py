"""Anchors: what no codec can beat, and what every codec should."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from mixcodec.audio import read_audio, resample, write_audio
from mixcodec.errors import UsageError
from mixcodec.evaluate.baselines.base import CODERS, Coder


@CODERS.register("identity")
class Identity(Coder):
    """The 16-bit PCM wav itself."""

    kind = "identity"
    source = "16-bit PCM, the clip as it is"
    settings = ""
    suffix = ".wav"

    def check(self) -> None:
        if self.setting is not None:
            raise UsageError("identity has no settings; write identity")

    def encode(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)

    def decode(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)


@CODERS.register("lowpass")
class LowPass(Coder):
    """The clip cut off above a frequency, as 16-bit PCM at twice that: the anchors of listening tests."""

    kind = "lowpass"
    source = "low-pass anchor (ITU-R BS.1534, MUSHRA), soxr HQ, kept as 16-bit PCM"
    settings = "cut-off in Hz, such as 3500"
    suffix = ".wav"

    def check(self) -> None:
        if self.setting is None or not 500 <= self.setting <= 24000 or self.setting != int(self.setting):
            raise UsageError("lowpass needs a whole cut-off frequency of 500 to 24000 Hz: lowpass@3500")

    def encode(self, source: Path, target: Path) -> None:
        wave, rate = read_audio(source)
        narrow = min(rate, 2 * int(self.setting or 0))
        write_audio(target, np.clip(resample(wave, rate, narrow), -1, 1), narrow)

    def decode(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
