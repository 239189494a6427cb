"""PESQ and STOI: what listeners would say of telephone speech, and how much of it they would understand."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale
from mixcodec.extras import need_package
from mixcodec.judges import perceptual


class _Pesq(Metric):
    """PESQ in one of its two bands."""

    speech_only = True
    packages = ("pesq",)
    band: ClassVar[Literal["wb", "nb"]]
    sample_rate: ClassVar[int]

    def check(self) -> None:
        need_package("pesq", "eval", f"metric {self.kind}")

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        return {self.kind: perceptual.pesq(prepared, wave, sample_rate, self.band)}


@METRICS.register("pesq_wb")
class PesqWide(_Pesq):
    """Wide-band PESQ."""

    kind = "pesq_wb"
    # MOS-LQO = 0.999 + 4 / (1 + exp(-1.3669 x + 3.8224)) at the highest raw score x = 4.5, and its lower limit.
    scales = (Scale("pesq_wb", "PESQ-WB", 0.999, 0.999 + 4 / (1 + np.exp(-1.3669 * 4.5 + 3.8224)), True, followed=True),)
    source = "ITU-T P.862.2, 2007 (Rix, Beerends, Hollier, Hekstra, 2001, PESQ); package pesq"
    sample_rate = 16000
    band = "wb"


@METRICS.register("pesq_nb")
class PesqNarrow(_Pesq):
    """Narrow-band PESQ."""

    kind = "pesq_nb"
    # MOS-LQO = 0.999 + 4 / (1 + exp(-1.4945 x + 4.6607)) at x = 4.5.
    scales = (Scale("pesq_nb", "PESQ-NB", 0.999, 0.999 + 4 / (1 + np.exp(-1.4945 * 4.5 + 4.6607)), True, followed=True),)
    source = "ITU-T P.862.1, 2003 (Rix, Beerends, Hollier, Hekstra, 2001, PESQ); package pesq"
    sample_rate = 8000
    band = "nb"


class _Stoi(Metric):
    """STOI in one of its two forms."""

    speech_only = True
    packages = ("pystoi",)
    extended: ClassVar[bool]
    sample_rate = perceptual.STOI_RATE

    def check(self) -> None:
        need_package("pystoi", "eval", f"metric {self.kind}")

    def measure(self, prepared: Wave, wave: Wave, sample_rate: int) -> dict[str, float]:
        return {self.kind: perceptual.stoi(prepared, wave, sample_rate, self.extended)}


@METRICS.register("stoi")
class Stoi(_Stoi):
    """Short-time objective intelligibility."""

    kind = "stoi"
    scales = (Scale("stoi", "STOI", -1.0, 1.0, higher_is_better=True, followed=True),)
    source = "Taal, Hendriks, Heusdens, Jensen, 2011, An algorithm for intelligibility prediction; package pystoi"
    extended = False


@METRICS.register("estoi")
class Estoi(_Stoi):
    """Extended STOI."""

    kind = "estoi"
    scales = (Scale("estoi", "ESTOI", -1.0, 1.0, higher_is_better=True, followed=True),)
    source = (
        "Jensen, Taal, 2016, An algorithm for predicting the intelligibility of speech masked by modulated noise; package pystoi"
    )
    extended = True
