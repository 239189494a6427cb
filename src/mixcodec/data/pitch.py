"""The fundamental frequency of every clip of a store, tracked once and kept beside it.

`pitch-KEY-RATE.npy` (float32): for each clip in order, one value for each 5 ms and one more, in Hz, 0 where the voice has none.
"""

from __future__ import annotations

import concurrent.futures as cf
import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mixcodec.data.manifest import cache_output
from mixcodec.data.store import Clip, Samples, Store
from mixcodec.errors import DataError

log = logging.getLogger(__name__)

STEP_SECONDS = 0.005
LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
"""Deep male voices to children's."""
SHARE = 256  # clips that a process tracks at a time

Track = npt.NDArray[np.float32]


def track_hop(sample_rate: int) -> int:
    """Samples from one value of a track to the next. Raises DataError where 5 ms are no whole number of them."""
    hop = sample_rate * STEP_SECONDS
    if hop != int(hop):
        raise DataError(
            f"pitch is tracked every 5 ms, which at {sample_rate} Hz is {hop:g} samples; choose a rate that 200 divides"
        )
    return int(hop)


def pitch_track(wave: npt.NDArray[np.float32], sample_rate: int) -> Track:
    """F0 (N // hop + 1,) in Hz of a wave (N,) every 5 ms from its first sample on, 0 where it is unvoiced.

    Boersma, 1993, Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound;
    package praat-parselmouth. Raises DataError where that is not installed.
    """
    try:
        import parselmouth
    except ImportError as error:
        raise DataError(f"tracking pitch needs praat-parselmouth ({error}); pip install 'mixcodec[eval-pitch]'") from None
    track = np.zeros(len(wave) // track_hop(sample_rate) + 1, np.float32)
    if not len(wave):
        return track
    try:
        found = parselmouth.Sound(wave.astype(np.float64), float(sample_rate)).to_pitch_ac(
            STEP_SECONDS, LOWEST_HZ, pitch_ceiling=HIGHEST_HZ
        )
    except parselmouth.PraatError:  # shorter than its window
        return track
    values, times = found.selected_array["frequency"], found.xs()
    at = np.round((np.arange(len(track)) * STEP_SECONDS - times[0]) / STEP_SECONDS).astype(int)
    inside = (at >= 0) & (at < len(values))
    track[inside] = values[at[inside]]
    return track


def track_places(store: Store) -> dict[int, int]:
    """Where in the tracks the clip begins that begins at an offset of the store's samples."""
    hop, place, places = track_hop(store.sample_rate), 0, {}
    for clip in store.clips:
        places[clip.offset] = place
        place += clip.samples // hop + 1
    return places


def open_tracks(store: Store, stem: Path, processes: int = 2) -> Track:
    """The tracks of all clips of a whole store, one after the other: from `stem`.npy, or tracked now.

    Raises DataError where Praat is not installed or the cache can't be written.
    """
    path, hop = stem.with_suffix(".npy"), track_hop(store.sample_rate)
    count = sum(clip.samples // hop + 1 for clip in store.clips)
    if path.is_file():
        tracks: Track = np.load(path, mmap_mode="r", allow_pickle=False)
        if tracks.shape == (count,) and tracks.dtype == np.float32:
            return tracks
    log.info("tracking the pitch of %d clips, %.1f h", len(store), store.seconds / 3600)
    shares = [store.clips[i : i + SHARE] for i in range(0, len(store.clips), SHARE)]
    file = os.fspath(getattr(store.data, "filename", "") or "")
    jobs = [(file, share, store.sample_rate) for share in shares]
    if processes < 2 or not file or len(shares) < 2:
        parts = [_tracked(store.data, share, store.sample_rate) for share in shares]
    else:
        with cf.ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_tracked_from, jobs))
    with cache_output(path) as output:
        np.save(output, np.concatenate(parts))
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _tracked_from(job: tuple[str, tuple[Clip, ...], int]) -> Track:
    return _tracked(np.load(job[0], mmap_mode="r", allow_pickle=False), *job[1:])


def _tracked(data: Samples, clips: tuple[Clip, ...], sample_rate: int) -> Track:
    scale = np.float32(1 / 32768)
    waves = (data[clip.offset : clip.offset + clip.samples].astype(np.float32) * scale for clip in clips)
    return np.concatenate([pitch_track(wave, sample_rate) for wave in waves])
