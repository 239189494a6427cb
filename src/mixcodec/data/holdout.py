"""What is kept from training to validate on, where nobody has said which speakers: a small share, cut as the corpus allows.

Whole speakers are best, for then a codec is judged by voices that it has never heard; so they are held out where there are many.
A folder of one's own often has one voice and a few long files. There whole files are held out, or the ends of files.
"""

import dataclasses
import math

import numpy as np

from mixcodec.data.store import Clip, Store

UNITS = ("speaker", "file", "auto")
MOST_SECONDS = 600.0
"""More than that tells nothing more."""
LEAST_SECONDS = 20.0
MOST_SHARE = 0.2
"""However little there is, no more than this is held out."""
MANY_SPEAKERS, MANY_FILES = 6, 8
"""From so many on, some of them can be spared."""
SHORTEST_END = 1.0
"""Seconds; of a file from which less would be cut nothing is."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """Clips to train on and clips held out, and what the latter are, in words."""

    train: tuple[Clip, ...]
    valid: tuple[Clip, ...]
    told: str


def wanted_seconds(seconds: float, share: float) -> float:
    """How much of `seconds` of audio is held out for a `share` of it: within limits that make sense for minutes and for days."""
    return min(max(share * seconds, LEAST_SECONDS), MOST_SECONDS, MOST_SHARE * seconds)


def hold_out(store: Store, share: float, unit: str = "auto", seed: int = 0) -> Cut:
    """Cuts the clips of a store: about `share` of all seconds are held out, see `wanted_seconds`.

    Args:
        store: packed clips.
        share: above 0 and below 1.
        unit: "file": whole files, or ends of files where there are few; "auto": whole speakers where there are many of them.
        seed: of the draw; which clips are held out is a function of it and of the clips' names and lengths.
    """
    wanted = wanted_seconds(store.seconds, share)
    speakers: dict[str, list[Clip]] = {}
    for clip in store.clips:
        speakers.setdefault(clip.unit, []).append(clip)
    if unit == "auto" and len(speakers) >= MANY_SPEAKERS:
        held = _drawn([sum(clip.samples for clip in clips) for clips in speakers.values()], wanted * store.sample_rate, seed)
        if held:
            chosen = [clip for place, clips in enumerate(speakers.values()) if place in held for clip in clips]
            return _cut(store, chosen, f"{len(held)} of {len(speakers)} speakers")
    if len(store.clips) >= MANY_FILES:
        held = _drawn([clip.samples for clip in store.clips], wanted * store.sample_rate, seed)
        if held:
            return _cut(store, [store.clips[place] for place in sorted(held)], f"{len(held)} of {len(store.clips)} files")
    return _ends(store, wanted / store.seconds)


def _drawn(sizes: list[int], wanted: float, seed: int) -> set[int]:
    """Places drawn at random, whose sizes are together at most `wanted`; none where that is not even half of it."""
    held: set[int] = set()
    total = 0
    for place in np.random.default_rng(seed).permutation(len(sizes)):
        if total + sizes[place] <= wanted:
            held.add(int(place))
            total += sizes[place]
    return held if 2 * total >= wanted and len(held) < len(sizes) else set()


def _cut(store: Store, chosen: list[Clip], told: str) -> Cut:
    held = set(chosen)
    seconds = sum(clip.samples for clip in chosen) / store.sample_rate
    return Cut(tuple(c for c in store.clips if c not in held), tuple(chosen), f"{told}, {seconds:.0f} s")


def _ends(store: Store, share: float) -> Cut:
    """The last part of every file that is long enough. The checksums stay those of the whole clips."""
    train, valid = [], []
    for clip in store.clips:
        end = math.floor(share * clip.samples)
        if end < SHORTEST_END * store.sample_rate:
            train.append(clip)
            continue
        kept = clip.samples - end
        train.append(dataclasses.replace(clip, samples=kept))
        valid.append(dataclasses.replace(clip, offset=clip.offset + kept, samples=end))
    seconds = sum(clip.samples for clip in valid) / store.sample_rate
    told = f"the ends of {len(valid)} of {len(store.clips)} files, {seconds:.0f} s" if valid else "nothing: there is too little"
    return Cut(tuple(train), tuple(valid), told)
