"""A store -> random training segments, each a pure function of (seed, step, item).

Nothing is remembered between batches: batch 70,000 is computed without the 69,999 before it, so a resumed run sees exactly
what the run that was not stopped would have seen. And a batch can be made in parts, by processes that share it.

    unit (source, speaker)   drawn with p ~ seconds ** balance: 1 is in proportion, 0 gives every voice the same share
      clip                   drawn with p ~ length
        samples              a random cut if the clip is longer than the segment; else the clip, and further clips of the same
                             unit joined on until the segment is full (single words would otherwise be mostly padding)
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import soxr

from mixcodec.data.augment import Augment, frame_power
from mixcodec.data.pitch import Track, track_hop
from mixcodec.data.store import Store
from mixcodec.errors import DataError

FADE_SECONDS = 0.005
GAP_SECONDS = (0.05, 0.2)
P_GAP = 0.4
TRIES = 6
SILENCE_DBFS = -50.0  # a segment whose loudest 20 ms are below this is drawn again
MIN_ACTIVE = 0.3  # as is one of which less than this share is active

Wave = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Unit:
    offsets: npt.NDArray[np.int64]  # of its clips in the store
    lengths: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]  # cumulative lengths, to draw in proportion


class Segments:
    """`batch(step, part)` -> (batch, N) float32 in [-1, 1], for any step >= 0."""

    def __init__(
        self,
        store: Store,
        seconds: float,
        batch: int,
        seed: int = 0,
        *,
        balance: float = 0.5,
        augment: Augment | None = None,
        speeds: tuple[float, float] = (1.0, 1.0),
        tracks: tuple[Track, dict[int, int]] | None = None,
    ) -> None:
        """`seconds` is the length of a segment, `batch` how many a batch has, `balance` the power of a unit's seconds that
        its share is proportional to. `augment=None` leaves the samples as they are in the store. A segment is played at a
        speed drawn (its logarithm evenly) from `speeds`, its pitch with it: another voice, more or less. `tracks` are those of
        the whole store and where each clip's begins."""
        self.store, self.size, self.samples = store, batch, round(seconds * store.sample_rate)
        self.seed, self.augment, self.speeds, self.tracks = seed, augment, speeds, tracks
        self._hop = track_hop(store.sample_rate) if tracks else 0
        if not store.clips:
            raise DataError("no clips to draw segments from")
        if self.samples < 1 or batch < 1 or seed < 0:
            raise DataError(
                f"segments of {seconds} s, {batch} a batch, seed {seed}: lengths must be positive, the seed not negative"
            )
        self.units = sorted({c.unit for c in store.clips})
        self._units = [_unit(store, name) for name in self.units]
        seconds_of = np.array([u.ends[-1] for u in self._units]) / store.sample_rate
        self.shares = seconds_of**balance / (seconds_of**balance).sum()  # (units,), sums to 1
        self._bounds = np.cumsum(self.shares)[:-1]

    def batch(self, step: int, part: int = 0) -> Wave:
        """(batch, N) float32 in [-1, 1]: batch number `step`, the same whenever and wherever it is asked for.

        Parts 0, 1, ... of it, one after the other, are the batch of a larger `batch`.
        """
        return self.batch_with_pitch(step, part)[0]

    def batch_with_pitch(self, step: int, part: int = 0) -> tuple[Wave, Track]:
        """The same, and the pitch (batch, N // hop + 1) in Hz every 5 ms, 0 where there is none; (batch, 0) without tracks."""
        items = [self._augmented(step, item) for item in range(part * self.size, (part + 1) * self.size)]
        return np.stack([wave for wave, _ in items]), np.stack([track for _, track in items])

    def _augmented(self, step: int, item: int) -> tuple[Wave, Track]:
        wave, _, track = self._drawn(step, item)
        return (self.augment(wave[None], self.store.sample_rate, self._rng(step, item, 0))[0] if self.augment else wave), track

    def segment(self, step: int, item: int) -> tuple[Wave, str]:
        """(N,) samples and their unit, before augmentation. Of several tries that are all nearly silent, the most active."""
        return self._drawn(step, item)[:2]

    def _drawn(self, step: int, item: int) -> tuple[Wave, str, Track]:
        rng = self._rng(step, item)
        low, high = (math.log(speed) for speed in self.speeds)
        speed = math.exp(rng.uniform(low, high)) if low < high else self.speeds[0]
        best: tuple[float, Wave, str, Track] | None = None
        for _ in range(TRIES):
            i = int(np.searchsorted(self._bounds, rng.random(), side="right"))
            wave, track = self._fill(self._units[i], rng, math.ceil(self.samples * speed))
            share = active_share(wave, self.store.sample_rate)
            if best is None or share > best[0]:
                best = share, wave, self.units[i], track
            if share >= MIN_ACTIVE:
                break
        assert best is not None
        _, wave, unit, track = best
        return (wave, unit, track) if speed == 1 else (*self._played(wave, unit, speed), self._retimed(track, speed))

    def _played(self, wave: Wave, unit: str, speed: float) -> tuple[Wave, str]:
        """The wave at that speed, cut or filled with silence to a segment's length."""
        faster: Wave = soxr.resample(wave, speed, 1.0, quality="HQ")[: self.samples].astype(np.float32)
        return np.pad(faster, (0, self.samples - len(faster))), unit

    def _retimed(self, track: Track, speed: float) -> Track:
        if not len(track):
            return track
        at = np.round(np.arange(self.samples // self._hop + 1) * speed).astype(int)
        return np.asarray(track[np.minimum(at, len(track) - 1)] * np.float32(speed))

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _fill(self, unit: _Unit, rng: np.random.Generator, samples: int) -> tuple[Wave, Track]:
        """`samples` samples of one unit and their pitch."""
        rate = self.store.sample_rate
        out = np.zeros(samples, np.float32)
        track = np.zeros(samples // self._hop + 1 if self.tracks else 0, np.float32)
        filled = 0
        while filled < samples:
            if filled and rng.random() < P_GAP:
                filled += int(rng.uniform(*GAP_SECONDS) * rate)
            room = samples - filled
            if room <= 0:
                break
            k = int(np.searchsorted(unit.ends, rng.integers(unit.ends[-1]), side="right"))
            length = int(unit.lengths[k])
            start = 0
            if not filled and length > room:
                start = int(rng.integers(length - room + 1))
            elif not filled and rng.random() < 0.5:  # or every segment of short clips would begin with the onset of a word
                start = int(rng.integers(length // 2 + 1))
            stop = min(length, start + room)
            piece = self.store.data[unit.offsets[k] + start : unit.offsets[k] + stop].astype(np.float32)
            piece *= np.float32(1 / 32768)
            fade = min(int(FADE_SECONDS * rate), len(piece) // 2)
            if filled:
                _ramp(piece, fade)
            if len(piece) < room:
                _ramp(piece[::-1], fade)
            out[filled : filled + len(piece)] = piece
            if self.tracks:
                self._fill_track(track, filled, len(piece), int(unit.offsets[k]), start, length)
            filled += len(piece)
        return out, track

    def _fill_track(self, track: Track, at: int, samples: int, offset: int, start: int, length: int) -> None:
        """Writes, in place, the pitch of `samples` samples that begin at `at`, and `start` samples into the clip of `length` at
        `offset`."""
        assert self.tracks
        tracks, places = self.tracks
        first, last = -(-at // self._hop), (at + samples - 1) // self._hop
        inside = (np.arange(first, last + 1) * self._hop - at + start + self._hop // 2) // self._hop
        track[first : last + 1] = tracks[places[offset] + np.minimum(inside, length // self._hop)]


def active_share(wave: Wave, sample_rate: int) -> float:
    """The share of 20 ms frames within 40 dB of the loudest; 0 where even the loudest is under -50 dBFS."""
    power = frame_power(wave, sample_rate)
    loudest = float(power.max())
    return float((power > loudest * 1e-4).mean()) if loudest > 10 ** (SILENCE_DBFS / 10) else 0.0


def _ramp(piece: Wave, fade: int) -> None:
    """Fades in, in place (a reversed view fades out)."""
    piece[:fade] *= (np.arange(fade, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, fade))


def _unit(store: Store, name: str) -> _Unit:
    clips = [c for c in store.clips if c.unit == name]
    lengths = np.array([c.samples for c in clips], np.int64)
    return _Unit(np.array([c.offset for c in clips], np.int64), lengths, np.cumsum(lengths))
