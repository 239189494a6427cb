"""Opinion: what listeners would say of speech, judged by networks that hear the decoded clip alone."""

from __future__ import annotations

from typing import ClassVar

from mixcodec.audio import Wave
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale
from mixcodec.extras import need_package
from mixcodec.judges import distillmos, dnsmos


class _Opinion(Metric):
    """An opinion score without reference."""

    sample_rate: ClassVar[int]
    speech_only = True

    def prepare(self, reference: Wave, sample_rate: int, text: str | None = None) -> None:
        """Nothing: the reference is not heard."""


@METRICS.register("dnsmos")
class Dnsmos(_Opinion):
    """Speech quality (SIG), background (BAK) and overall (OVRL) as of P.835, and the overall score as of P.808."""

    kind = "dnsmos"
    scales = (
        Scale("dnsmos_sig", "DNSMOS SIG", 1.0, 5.0, higher_is_better=True, compares=False),
        Scale("dnsmos_bak", "DNSMOS BAK", 1.0, 5.0, higher_is_better=True, compares=False),
        Scale("dnsmos_ovrl", "DNSMOS OVRL", 1.0, 5.0, higher_is_better=True, compares=False),
        Scale("dnsmos_p808", "DNSMOS P.808", 1.0, 5.0, higher_is_better=True, compares=False),
    )
    source = (
        "Reddy, Gopal, Cutler, 2022, DNSMOS P.835, and 2021, DNSMOS (P.808): a non-intrusive perceptual objective speech quality "
        "metric; networks of package speechmos, run by onnxruntime"
    )
    sample_rate = dnsmos.RATE
    packages = ("speechmos",)

    def check(self) -> None:
        need_package("speechmos", "eval", f"metric {self.kind}")

    def measure(self, prepared: None, wave: Wave, sample_rate: int) -> dict[str, float]:
        return dict(zip((scale.name for scale in self.scales), dnsmos.dnsmos(wave), strict=True))


@METRICS.register("distillmos")
class DistillMos(_Opinion):
    """The mean opinion score of a small network that was taught by a large one."""

    kind = "distillmos"
    scales = (Scale("distillmos", "DistillMOS", 1.0, 5.0, higher_is_better=True, compares=False),)
    source = (
        "Stahl, Gamper, 2025, Distillation and pruning for scalable self-supervised representation-based speech quality "
        "assessment; package distillmos"
    )
    sample_rate = distillmos.RATE
    packages = ("distillmos", "torch", "xls-r-sqa")
    extra = "eval-mos"

    def check(self) -> None:
        distillmos.check(f"metric {self.kind}")

    def measure(self, prepared: None, wave: Wave, sample_rate: int) -> dict[str, float]:
        return {"distillmos": distillmos.distillmos(wave)}
