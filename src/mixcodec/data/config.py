"""The data part of a training recipe, and what it opens."""

import dataclasses
import logging
import os
from pathlib import Path

from mixcodec.data.augment import Augment
from mixcodec.data.holdout import UNITS, hold_out
from mixcodec.data.manifest import Manifest, build_manifest, split_by_speaker
from mixcodec.data.pitch import Track, open_tracks, track_places
from mixcodec.data.segments import Segments
from mixcodec.data.store import Progress, Store, open_store
from mixcodec.errors import DataError
from mixcodec.registry import nearest

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which audio to train on, and how segments are cut from it."""

    root: str = "data"
    """Folder with the audio, at any depth."""
    manifest: str = "auto"
    """'auto' (the root's manifest.tsv, or a walk where there is none), 'scan' (a walk), or the path of a table."""
    split: str = ""
    """Only rows of the manifest with this split; empty takes all."""
    kind: str = ""
    """Only rows of the manifest with this kind, such as speech; empty takes all."""
    min_rate: int = 0
    """Leave out files with a native sample rate below this, in Hz."""
    exclude: tuple[str, ...] = ()
    """Speakers left out, as 'source/speaker', or whole sources: such as those whose bandwidth is less than their rate allows."""
    source_from: str = "parent"
    """In a walk, the source of a file is its 'parent' folder or the 'first' folder below the root."""
    speaker_regex: str = ""
    """In a walk, the first group of this regular expression, searched in the relative path, is the speaker."""
    sample_rate: int = 16000
    """Rate at which the audio is packed and handed out, in Hz."""
    segment_seconds: float = 2.0
    """Length of a training segment."""
    batch_size: int = 8
    """Segments in a batch."""
    balance: float = 0.5
    """A speaker's share is proportional to its seconds to this power: 1 as they come, 0 all speakers alike."""
    cache_dir: str = "~/.cache/mixcodec/data"
    """Where manifests and packed audio are kept; may be deleted at any time."""
    processes: int = 2
    """Processes that pack the audio."""
    validation: tuple[str, ...] = ()
    """Speakers held out for validation, as 'source/speaker', or whole sources."""
    validation_fraction: float = 0.0
    """Or the share of all seconds to hold out, drawn at random."""
    validation_unit: str = "speaker"
    """What is held out of that share: whole 'speaker's, whole 'file's (or their ends, where they are few), or 'auto', whichever
    the corpus can spare; those two keep within 20 s and 10 min."""
    validation_batches: int = 4
    """Batches in a validation pass; they are the same in every pass."""
    level_low: float = -32.0
    """Lowest active level of a segment after level augmentation, in dBFS."""
    level_high: float = -14.0
    """Highest active level."""
    speed_low: float = 1.0
    """Slowest speed at which a segment is played, its pitch and formants with it: 0.75 to 1.3 make several voices of each."""
    speed_high: float = 1.0
    """Fastest speed."""
    p_flip: float = 0.5
    """Probability that a segment's polarity is inverted."""
    p_noise: float = 0.0
    """Probability of added coloured noise, 10 to 40 dB under the signal."""
    p_room: float = 0.0
    """Probability of a synthetic room, reverberation time 0.1 to 0.6 s."""
    p_lowpass: float = 0.0
    """Probability of a bandwidth limited to 3 to 8 kHz."""
    seed: int = 0
    """Seed of the draws; batch number i is a function of this and i alone."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "segment_seconds", "batch_size", "processes", "validation_batches"):
            if getattr(self, name) <= 0:
                raise DataError(f"{name} is {getattr(self, name)}, but must be positive")
        for name in ("min_rate", "seed", "balance"):
            if getattr(self, name) < 0:
                raise DataError(f"{name} is {getattr(self, name)}, but must not be negative")
        if self.source_from not in ("parent", "first"):
            raise DataError(f"source_from is {self.source_from!r}, neither 'parent' nor 'first'")
        if self.validation and self.validation_fraction:
            raise DataError("give validation or validation_fraction, not both")
        if not 0 <= self.validation_fraction < 1:
            raise DataError(f"validation_fraction is {self.validation_fraction}, not from 0 to below 1")
        if self.validation_unit not in UNITS:
            raise DataError(f"validation_unit is {self.validation_unit!r}: {nearest(self.validation_unit, list(UNITS))}")
        if self.manifest == "scan" and (self.split or self.kind):
            raise DataError("split and kind choose rows of a manifest, but manifest='scan' uses none")
        if not 0.25 <= self.speed_low <= self.speed_high <= 4:
            raise DataError(f"speed_low and speed_high are {self.speed_low} and {self.speed_high}, no range within 0.25 to 4")
        for name in ("validation", "exclude"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list, when it comes from YAML
        _ = self.augment

    @property
    def augment(self) -> Augment:
        return Augment(
            level_dbfs=(self.level_low, self.level_high),
            p_flip=self.p_flip,
            p_noise=self.p_noise,
            p_room=self.p_room,
            p_lowpass=self.p_lowpass,
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """An opened corpus: what a training run draws from."""

    config: DataConfig
    manifest: Manifest  # training and validation together
    train: Store
    valid: Store  # may hold no clips
    held_out: str = ""  # what is in it, in words
    tracks: tuple[Track, dict[int, int]] | None = None  # pitch of all clips, and where each clip's begins

    @property
    def manifest_hash(self) -> str:
        return self.manifest.manifest_hash

    def train_segments(self) -> Segments:
        """Augmented segments, drawn with the config's seed."""
        c = self.config
        return Segments(
            self.train,
            c.segment_seconds,
            c.batch_size,
            c.seed,
            balance=c.balance,
            augment=c.augment,
            speeds=(c.speed_low, c.speed_high),
            tracks=self.tracks,
        )

    def valid_segments(self) -> Segments:
        """Segments as they were recorded. Use batches 0 to `validation_batches` - 1: they don't depend on the config's seed,
        so that runs can be compared. Raises DataError where no speakers are held out."""
        if not self.valid.clips:
            raise DataError("nothing is held out; set validation or validation_fraction")
        c = self.config
        return Segments(self.valid, c.segment_seconds, c.batch_size, 0, balance=c.balance)


def open_data(config: DataConfig, progress: Progress | None = None, pitch: bool = False) -> Data:
    """Lists, packs (or finds in the cache) and splits the corpus that `config` describes; tracks its `pitch` if asked to.

    Raises DataError.
    """
    cache_dir = Path(os.path.expanduser(config.cache_dir))
    manifest = build_manifest(
        os.path.expanduser(config.root),
        manifest=config.manifest,
        cache_dir=cache_dir,
        split=config.split,
        kind=config.kind,
        min_rate=config.min_rate,
        source_from=config.source_from,
        speaker_regex=config.speaker_regex,
    )
    if config.exclude:
        manifest, _ = split_by_speaker(manifest, config.exclude)
    by_speaker = config.validation_unit == "speaker" or not config.validation_fraction
    if by_speaker:
        train, valid = split_by_speaker(manifest, config.validation, config.validation_fraction, config.seed)
    store = open_store(manifest, config.sample_rate, cache_dir, processes=config.processes, progress=progress)
    tracks = None
    if pitch:
        stem = cache_dir / f"pitch-{manifest.cache_key[:16]}-{config.sample_rate}"
        tracks = open_tracks(store, stem, config.processes), track_places(store)
    if by_speaker:
        told = f"{len(valid.units)} of {len(manifest.units)} speakers, {valid.seconds:.0f} s" if valid.entries else "nothing"
        data = Data(config, manifest, store.subset(train), store.subset(valid), told, tracks)
    else:
        cut = hold_out(store, config.validation_fraction, config.validation_unit, config.seed)
        trained, validated = (dataclasses.replace(store, clips=clips) for clips in (cut.train, cut.valid))
        data = Data(config, manifest, trained, validated, cut.told, tracks)
    if not data.train.clips:
        raise DataError(f"{manifest.root}: no file of the training speakers can be used")
    log.info("%d clips, %.1f h to train on; held out: %s", len(data.train), data.train.seconds / 3600, data.held_out)
    return data
