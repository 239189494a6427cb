"""What a run found: one row for every clip and operating point, kept as Parquet."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixcodec.errors import DataError
from mixcodec.evaluate.metrics import METRICS
from mixcodec.evaluate.metrics.base import Scale
from mixcodec.files import atomic_output

FORMAT = 1
METADATA_KEY = b"mixcodec"


@dataclasses.dataclass
class Row:
    """One clip through one codec at one operating point."""

    clip: str
    """Path of the clip, relative to the data folder."""
    seconds: float
    point: str
    """The operating point, such as opus@6."""
    codec: str
    """Whose points make one curve, such as opus."""
    setting: float | None
    """What was asked for: kbps mostly; None where there is nothing to ask."""
    speaker: str = ""
    language: str = ""
    file_bytes: int | None = None
    """The whole file that was written, headers included; None where it failed."""
    payload_bytes: int | None = None
    """What is left without the container, for formats whose container is someone else's (Ogg)."""
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    """Scale name -> value, of those that could be computed."""
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    """Scale name, or "codec" -> why there is no value."""

    @property
    def kbps(self) -> float | None:
        """Kilobits of the whole file for each second of sound."""
        return None if self.file_bytes is None else self.file_bytes * 8 / 1000 / self.seconds

    @property
    def payload_kbps(self) -> float | None:
        """Kilobits without the container for each second of sound."""
        return None if self.payload_bytes is None else self.payload_bytes * 8 / 1000 / self.seconds


@dataclasses.dataclass
class CodebookUse:
    """How one operating point used one codebook, over all clips."""

    point: str
    codebook: int
    """Counted from 1."""
    size: int
    used: float
    """Share of the codes that occurred, 0 to 1."""
    perplexity: float
    entropy_bits: float
    """Empirical entropy of a code on its own, bits."""
    conditional_bits: float
    """Empirical entropy given the code before it in the same codebook, bits: biased low where clips are few."""
    file_bits: float
    """Bits that the file really spent on a code: the payload over all codebooks, divided by the codes."""


@dataclasses.dataclass
class Results:
    """All rows of a run, and what is needed to read them."""

    rows: list[Row]
    scales: list[Scale]
    points: list[str]
    """In the order of the command line."""
    codebooks: list[CodebookUse] = dataclasses.field(default_factory=list)
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    """command, date, sample_rate, data, versions {name: version}, delays {point: samples}, machine."""

    @property
    def clips(self) -> list[str]:
        """Every clip once, in order."""
        return list(dict.fromkeys(row.clip for row in self.rows))

    def of_point(self, point: str) -> list[Row]:
        """The rows of one operating point, in the order of clips."""
        return [row for row in self.rows if row.point == point]

    def total_kbps(self, point: str, of: Callable[[Row], int | None] = lambda row: row.file_bytes) -> float:
        """All bits of a point over all its seconds, kbps (failed clips left out); NaN where there are none."""
        done = [(count, row.seconds) for row in self.of_point(point) if (count := of(row)) is not None]
        return sum(b for b, _ in done) * 8 / 1000 / sum(s for _, s in done) if done else math.nan


FIXED_COLUMNS = ("clip", "seconds", "point", "codec", "setting", "speaker", "language", "file_bytes", "payload_bytes")


def write_results(path: Path, results: Results) -> None:
    """Write a Parquet file: a column for each field and each scale; scales, points and versions in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = results.rows
    columns: dict[str, Any] = {name: pa.array([getattr(row, name) for row in rows]) for name in FIXED_COLUMNS}
    columns["setting"] = columns["setting"].cast(pa.float64())
    columns["kbps"] = pa.array([row.kbps for row in rows], pa.float64())
    columns["payload_kbps"] = pa.array([row.payload_kbps for row in rows], pa.float64())
    for scale in results.scales:
        columns[scale.name] = pa.array([row.scores.get(scale.name) for row in rows], pa.float64())
    columns["problems"] = pa.array([json.dumps(row.problems) if row.problems else None for row in rows], pa.string())
    about = {
        "format": FORMAT,
        "scales": [dataclasses.asdict(scale) for scale in results.scales],
        "points": results.points,
        "codebooks": [dataclasses.asdict(use) for use in results.codebooks],
        "about": results.about,
    }
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(about).encode()})
    with atomic_output(path) as file:
        pq.write_table(table, file)


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Raises:
        DataError: it is not there, or not such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:  # pyarrow itself opens no name that is not UTF-8
            table = pq.read_table(file)
        about = json.loads((table.schema.metadata or {})[METADATA_KEY])
        if about["format"] != FORMAT:
            raise DataError(f"{path}: is of format {about['format']}, but this mixcodec reads format {FORMAT}")
        scales = [_scale(known) for known in about["scales"]]
        rows = []
        for record in table.to_pylist():
            scores = {s.name: record[s.name] for s in scales if record[s.name] is not None}
            problems = json.loads(record["problems"]) if record["problems"] else {}
            rows.append(Row(**{name: record[name] for name in FIXED_COLUMNS}, scores=scores, problems=problems))
        codebooks = [CodebookUse(**use) for use in about["codebooks"]]
        return Results(rows, scales, about["points"], codebooks, about["about"])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; make it with mixcodec eval") from None
    except (KeyError, TypeError, ValueError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: is not a results file of mixcodec eval ({error})") from None


def _scale(known: dict[str, Any]) -> Scale:
    """A scale as it was written; what results written before scales had such facts do not say, the metric of today says."""
    today = {scale.name: scale for kind in METRICS.kinds() for scale in METRICS.build(kind).scales}.get(known["name"])
    facts = {name: getattr(today, name) for name in ("compares", "coarse", "followed")} if today else {}
    return Scale(**{**facts, **known, "low": float(known["low"]), "high": float(known["high"])})
