"""What speaker similarity can be: two takes of one speaker, and of two.

    python -m mixcodec.evaluate.claims.speakers --data corpus --list eval60.txt

A codec that keeps a voice scores 1 beside its reference, which is the same take; that a voice is the same can be seen only in
another take. So the cosine of two takes is what a similarity above which nothing is lost looks like.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from mixcodec.audio import read_audio, resample
from mixcodec.errors import UsageError
from mixcodec.evaluate.claims.claim import Claim, command
from mixcodec.evaluate.clips import find_clips
from mixcodec.evaluate.metrics.speaker import RATE, SpeakerSimilarity


@dataclass(frozen=True)
class Arguments:
    """How alike two takes of one speaker are, and of two speakers, to the metric speaker_similarity."""

    data: Path
    """Folder with audio."""
    listed: Annotated[Path | None, tyro.conf.arg(name="list")] = None
    """Text file with the clips to take, one path below the data folder a line."""


def two_takes(voices: Mapping[str, Sequence[NDArray[np.float64]]]) -> Claim:
    """The cosines of all pairs of d-vectors (D,) of length 1, within a speaker and across; a speaker counts as one."""
    within = {name: [float(a @ b) for a, b in itertools.combinations(takes, 2)] for name, takes in voices.items()}
    across = [
        float(np.mean([a @ b for a in voices[one] for b in voices[other]])) for one, other in itertools.combinations(voices, 2)
    ]
    means = {name: float(np.mean(found)) for name, found in within.items() if found}
    if not means:
        raise UsageError("no speaker has two takes; a manifest.tsv with a column speaker says who speaks")
    rows: list[list[str | float]] = [
        [name, str(len(voices[name])), str(len(within[name])), mean, float(np.min(within[name])), float(np.max(within[name]))]
        for name, mean in means.items()
    ]
    ceiling = float(np.mean(list(means.values())))
    other = float(np.mean(across)) if across else float("nan")
    verdict = f"Two takes of one speaker: {ceiling:.3f}, the mean of {len(means)} speakers; of two speakers: {other:.3f}."
    columns = ["speaker", "takes", "pairs", "mean", "least", "most"]
    return Claim("Speaker similarity of two takes", columns, rows, verdict, {"one": ceiling, "two": other})


def run(arguments: Arguments) -> None:
    metric = SpeakerSimilarity()
    metric.check()
    voices: dict[str, list[NDArray[np.float64]]] = {}
    for clip in find_clips(arguments.data, arguments.listed):
        wave, rate = read_audio(arguments.data / clip.name)
        mono = wave.mean(axis=0) if wave.ndim == 2 else wave
        vector = metric.prepare(resample(mono, rate, RATE), RATE)
        if clip.speaker and vector is not None:
            voices.setdefault(clip.speaker, []).append(vector)
    print(two_takes(voices))


def main() -> int:
    """Runs the command line."""
    return command(run, Arguments)


if __name__ == "__main__":
    sys.exit(main())
