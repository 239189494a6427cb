"""PESQ and STOI: what listeners would say of telephone speech, and how much of it they would understand."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from mixcodec.audio import Wave
from mixcodec.judges.base import UnscorableError, finite

STOI_RATE = 10000
"""Hz at which STOI is computed; it brings other rates to this one itself."""


def pesq(reference: Wave, wave: Wave, sample_rate: int, band: Literal["wb", "nb"]) -> float:
    """PESQ's MOS-LQO of `wave` (N,) beside `reference` (N,): wide band ("wb", at 16 kHz) or narrow band ("nb", at 8 kHz).

    ITU-T P.862.2, 2007, and P.862.1, 2003 (Rix, Beerends, Hollier, Hekstra, 2001, PESQ), by the package pesq.

    Raises:
        UnscorableError: both are silent, no utterance is found, or they are too short.
    """
    import pesq as package

    if not np.any(reference) and not np.any(wave):
        raise UnscorableError("PESQ: both clips are silent")
    try:
        value = package.pesq(sample_rate, reference, wave, band)
    except (package.PesqError, ValueError) as error:
        detail = error.args[0] if error.args else ""
        detail = detail.decode() if isinstance(detail, bytes) else detail
        raise UnscorableError(f"PESQ: {type(error).__name__} {detail}".strip()) from None
    return finite(value, "PESQ")


def stoi(reference: Wave, wave: Wave, sample_rate: int, extended: bool = False) -> float:
    """STOI of `wave` (N,) beside `reference` (N,), -1 to 1, or ESTOI where `extended`.

    Taal, Hendriks, Heusdens, Jensen, 2011, An algorithm for intelligibility prediction; Jensen, Taal, 2016, An algorithm for
    predicting the intelligibility of speech masked by modulated noise; by the package pystoi.

    Raises:
        UnscorableError: the reference is silent, or too little of it is not.
    """
    from pystoi import stoi

    if not np.any(reference):
        raise UnscorableError("the reference is silent")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # The extended form adds noise of 1e-16 drawn from the global generator: seeded, it repeats to the last bit.
            state = np.random.get_state()
            np.random.seed(0)
            value = stoi(reference, wave, sample_rate, extended=extended)
        except ValueError:  # where no whole frame is left
            raise UnscorableError("STOI: the clip is too short") from None
        finally:
            np.random.set_state(state)
    if short := [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]:
        raise UnscorableError(short[0].split(".")[0])
    return finite(value, "STOI")
