"""The panel: several judges of speech asked at once, as far as what they need is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable

from mixcodec.audio import Wave, resample
from mixcodec.extras import MissingPartError
from mixcodec.judges import distillmos, dnsmos, harmonicity, modulation, perceptual, pitch
from mixcodec.judges.base import UnscorableError

RATE = 16000
"""Hz at which they are asked; where the sound has less, its upper half would be empty, so nobody is."""
OPINION_WINDOWS = 1
"""Windows of DNSMOS: of a clip that does not fill one, the others hear almost the same."""
FRAME_RATE = 50.0


def judges_present(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` whose packages are installed."""
    return tuple(name for name in names if _present(name))


def ask(names: Iterable[str], reference: Wave, wave: Wave, sample_rate: int, frame_rate: float = FRAME_RATE) -> dict[str, float]:
    """What the judges `names` (of JUDGES) say of `wave` (N,) beside `reference` (N,), speech at `sample_rate` Hz.

    `pesq` (wide band), `stoi`, `distillmos`, `dnsmos` (OVRL, of the first window alone); `harmonicity` and `modulation_1` to
    `modulation_3` in dB, as changes from the reference; `f0`, the error in cents, and `voicing`, the share of wrong frames, for
    the judge `pitch`. What has no value is left out.
    """
    reference, wave = (resample(one, sample_rate, RATE) for one in (reference, wave))
    found: dict[str, float] = {}
    for name in names:
        try:
            found |= JUDGES[name][1](reference, wave, frame_rate)
        except UnscorableError:
            continue
    return found


def _pesq(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    return {"pesq": perceptual.pesq(reference, wave, RATE, "wb")}


def _stoi(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    return {"stoi": perceptual.stoi(reference, wave, RATE)}


def _distillmos(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    return {"distillmos": distillmos.distillmos(wave)}


def _dnsmos(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    return {"dnsmos": dnsmos.dnsmos(wave, OPINION_WINDOWS).ovrl}


def _harmonicity(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    known = harmonicity.reference_harmonicity(reference, RATE)
    return {"harmonicity": harmonicity.harmonicity(known, wave, RATE) - known.decibels}


def _modulation(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    changes = modulation.modulation(wave, RATE, frame_rate) - modulation.modulation(reference, RATE, frame_rate)
    return {f"modulation_{multiple}": float(change) for multiple, change in zip(modulation.MULTIPLES, changes, strict=True)}


def _pitch(reference: Wave, wave: Wave, frame_rate: float) -> dict[str, float]:
    errors = pitch.pitch_errors(*(pitch.track_pitch(one, RATE).f0 for one in (reference, wave)))
    return {"f0": errors.cents, "voicing": errors.voicing}


JUDGES: dict[str, tuple[str, Callable[[Wave, Wave, float], dict[str, float]]]] = {
    "pesq": ("pesq", _pesq),
    "stoi": ("pystoi", _stoi),
    "distillmos": ("distillmos", _distillmos),
    "dnsmos": ("speechmos", _dnsmos),
    "harmonicity": ("parselmouth", _harmonicity),
    "modulation": ("numpy", _modulation),
    "pitch": ("parselmouth", _pitch),
}
"""Name -> the module that it needs, and what asks it."""


def _present(name: str) -> bool:
    if name == "distillmos":
        try:
            distillmos.check(name)
        except MissingPartError:
            return False
        return True
    return importlib.util.find_spec(JUDGES[name][0]) is not None
