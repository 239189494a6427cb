"""What a variant of a model gains on this machine, which no list of instructions tells: both are timed, side by side."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mixcodec.audio import Wave
from mixcodec.models import PLAIN
from mixcodec.runtime.codec import Codec, load

SECONDS, ROUNDS = 10.0, 7
"""Of sound that is coded, and how often by each."""
WORTH, SLOWER = 1.1, 0.95
"""Times as fast from which a variant is advised, and under which it is advised against."""


class Gain(NamedTuple):
    """How many times as fast as the plain graphs a variant is."""

    encode: float
    decode: float


def variant_gain(
    model: str | os.PathLike[str],
    variant: str,
    place: str | os.PathLike[str] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> Gain:
    """Times the plain graphs of a model and a variant of it, in turn, in this process, with one thread.

    Args:
        model: name or folder of a model that has plain graphs.
        variant: such as int8.
        place: the folder of the variant's graphs; by default where `mixcodec.load` finds them.
        clock: gives seconds; by default those of the processor, which what else runs on the machine hardly touches.

    Raises:
        ModelError: there is no such model or variant.
    """
    plain, other = load(model, variant=PLAIN), load(model if place is None else place, variant=variant)
    wave = _sound(plain.sample_rate)
    gains = []
    for turn in (_encodes, _decodes):
        calls = [turn(codec, wave) for codec in (plain, other)]
        times: list[list[float]] = [[], []]
        for number in range(1 + ROUNDS):
            for call, found in zip(calls, times, strict=True):
                start = clock()
                call()
                if number:  # the first one only warms up
                    found.append(clock() - start)
        before, after = map(statistics.median, times)
        gains.append(before / max(after, 1e-9))
    return Gain(*gains)


def told(variant: str, gain: Gain) -> str:
    """One line: what was measured, and what to do."""
    measured = f"on this machine {variant} encodes {gain.encode:.2f} and decodes {gain.decode:.2f} times as fast as {PLAIN}"
    if max(gain) < SLOWER or (min(gain) < SLOWER and max(gain) < WORTH):
        return f"{measured}: it is slower here, leave it"
    if max(gain) < WORTH:
        return f"{measured}: hardly worth it here"
    if min(gain) < SLOWER:
        return f"{measured}: use it for {'encoding' if gain.encode > gain.decode else 'decoding'} alone, with --variant {variant}"
    return f"{measured}: worth it here, with --variant {variant}"


def _sound(sample_rate: int) -> Wave:
    """Noise that comes and goes: what is coded does not change how long it takes."""
    count = round(SECONDS * sample_rate)
    swell = 0.1 * np.abs(np.sin(np.arange(count) * (6 / sample_rate)))
    return np.asarray(swell * np.random.default_rng(0).standard_normal(count), np.float32)


def _encodes(codec: Codec, wave: Wave) -> Callable[[], object]:
    return lambda: codec.wave_to_tokens(wave, codec.sample_rate)


def _decodes(codec: Codec, wave: Wave) -> Callable[[], object]:
    tokens = codec.wave_to_tokens(wave, codec.sample_rate)
    return lambda: codec.tokens_to_wave(tokens)
