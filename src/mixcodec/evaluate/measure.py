"""One clip through every codec and every metric."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave, read_audio, resample
from mixcodec.evaluate.align import aligned
from mixcodec.evaluate.baselines.base import Coder
from mixcodec.evaluate.clips import Clip, read_clip
from mixcodec.evaluate.metrics import METRICS, Metric, UnscorableError
from mixcodec.evaluate.results import Row
from mixcodec.temporary import temporary_folder


class CodingError(RuntimeError):
    """A codec that did not do what it is for, without saying so itself."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What all clips of a run have in common."""

    root: Path
    metrics: tuple[str, ...]
    """Kinds of metrics."""
    sample_rate: int
    """Hz of the wav that every codec is given, and at which it is compared."""
    mono: bool


@dataclasses.dataclass
class Measured:
    """One row, and the codes behind it where the codec shows them."""

    row: Row
    codes: NDArray[np.int64] | None = None
    codebook_size: int = 0


def clip_rows(clip: Clip, coders: Sequence[Coder], delays: dict[str, int], conditions: Conditions) -> Iterator[Measured]:
    """The clip through each coder. Whatever goes wrong stands in the row's `problems`; nothing is left out."""
    with temporary_folder() as folder:
        try:
            reference = read_clip(conditions.root / clip.name, folder / "source.wav", conditions.sample_rate, conditions.mono)
        except Exception as error:  # whatever a file does to its reader: it is said, and the run goes on
            for coder in coders:
                yield Measured(blank_row(clip, coder, clip.seconds, {"codec": _reason(error)}))
            return
        judge = Judge(reference, conditions, clip.text)
        for coder in coders:
            yield _measure(clip, coder, reference, judge, delays[coder.point], conditions, folder)


def blank_row(clip: Clip, coder: Coder, seconds: float, problems: dict[str, str]) -> Row:
    """The row of a clip before anything is known of it, or of one that failed."""
    return Row(clip.name, seconds, coder.point, coder.codec, coder.setting, clip.speaker, clip.language, problems=problems)


def through(coder: Coder, source: Path, folder: Path, sample_rate: int) -> tuple[Path, Wave]:
    """The coded file of a wav in `folder`, and what it decodes to, resampled to `sample_rate` Hz but not aligned.

    Raises:
        CodingError: a step wrote nothing, or other channels came back. Whatever else the codec raises.
    """
    place = Path(tempfile.mkdtemp(dir=folder))  # an empty one: what an earlier codec left there must not pass for this one's
    coded, decoded = place / f"coded{coder.suffix}", place / "decoded.wav"
    for step, start, end in ((coder.encode, source, coded), (coder.decode, coded, decoded)):
        step(start, end)
        if not end.is_file():
            raise CodingError(f"its {step.__name__}r wrote nothing")
    wave, rate = read_audio(decoded)
    channels, given = (1 if shape.ndim == 1 else len(shape) for shape in (wave, read_audio(source)[0]))
    if given == 1 and channels > 1:  # some decoders always write two
        wave, channels = wave.mean(axis=0, dtype=np.float32), 1
    if channels != given:
        raise CodingError(f"it was given {given} channels and gave back {channels}")
    return coded, resample(wave, rate, sample_rate)


def _measure(
    clip: Clip, coder: Coder, reference: Wave, judge: Judge, delay: int, conditions: Conditions, folder: Path
) -> Measured:
    measured = Measured(blank_row(clip, coder, reference.shape[-1] / conditions.sample_rate, {}))
    row = measured.row
    try:
        coded, wave = through(coder, folder / "source.wav", folder, conditions.sample_rate)
        if shown := coder.codes(coded):
            measured.codes, measured.codebook_size = shown
        file_bytes, payload_bytes = coded.stat().st_size, coder.payload_bytes(coded)
    except Exception as error:  # likewise
        row.problems["codec"] = _reason(error)
        return measured
    row.file_bytes, row.payload_bytes = file_bytes, payload_bytes
    row.scores, row.problems = judge.score(aligned(wave, delay, reference.shape[-1]))
    return measured


class Judge:
    """Scores decoded clips against one reference (*channels, N); several channels are scored one by one and averaged."""

    def __init__(self, reference: Wave, conditions: Conditions, text: str | None = None) -> None:
        self._metrics = [METRICS.build(kind) for kind in conditions.metrics]
        self._rate = conditions.sample_rate
        self._text = text
        self._references = _at_rates(np.atleast_2d(reference), self._rate, self._metrics)
        self._prepared: dict[tuple[str, int], Callable[[], Any]] = {}

    def score(self, wave: Wave) -> tuple[dict[str, float], dict[str, str]]:
        """Scale name -> value, and metric scale -> why there is none; `wave` is as long as the reference."""
        scores: dict[str, float] = {}
        problems: dict[str, str] = {}
        rows = np.atleast_2d(wave)
        waves = _at_rates(rows, self._rate, self._metrics)
        for metric in self._metrics:
            rate = metric.sample_rate or self._rate
            try:
                each = [metric.measure(self._prepare(metric, c), waves[rate][c], rate) for c in range(len(rows))]
            except Exception as error:  # a metric that breaks on a clip must not take the run with it
                reason = str(error) if isinstance(error, UnscorableError) else _reason(error)
                problems |= {scale.name: reason for scale in metric.scales}
                continue
            scores |= {scale.name: float(np.mean([values[scale.name] for values in each])) for scale in metric.scales}
        return scores, problems

    def _prepare(self, metric: Metric, channel: int) -> Any:
        """What the metric needs of the reference, worked out once; an error is kept and raised again."""
        key = (metric.kind, channel)
        if key not in self._prepared:
            rate = metric.sample_rate or self._rate
            try:
                value = metric.prepare(self._references[rate][channel], rate, self._text)
                self._prepared[key] = lambda: value
            except UnscorableError as error:
                self._prepared[key] = _raiser(str(error))
        return self._prepared[key]()


def _raiser(reason: str) -> Callable[[], Any]:
    def again() -> Any:
        raise UnscorableError(reason)

    return again


def _at_rates(rows: Wave, sample_rate: int, metrics: Sequence[Metric]) -> dict[int, Wave]:
    """Channels (C, N) at every rate (Hz) that the metrics want."""
    return {rate: resample(rows, sample_rate, rate) for rate in {metric.sample_rate or sample_rate for metric in metrics}}


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
