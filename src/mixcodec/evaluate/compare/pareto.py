"""Quality against cost, as plain objects: what a bake-off's page and picture draw.

rows -> dots -> figures <- dots <- tables in Markdown
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixcodec.errors import FileError
from mixcodec.evaluate.compare import tables
from mixcodec.evaluate.compare.rows import Row
from mixcodec.evaluate.compare.run import Comparison
from mixcodec.evaluate.compare.tables import RANKED, SCALES, codec_speed, fact, kbps
from mixcodec.evaluate.metrics.base import DAGGER, Scale, explained
from mixcodec.evaluate.report.tables import Cell, Column, Table, scale_column
from mixcodec.evaluate.statistics import mean_estimate

Figure = dict[str, Any]
CONTROL, OFFLINE, STREAMS = 0, 1, 2
"""Groups of dots: what is there only to be compared with, what sees whole clips, and what a codec could be made of."""


@dataclass(frozen=True)
class Axis:
    """A cost that quality is drawn against."""

    title: str
    of: Callable[[Sequence[Row]], float | None]
    """Reads it off the rows of a variant."""
    column: str
    """Where it stands in a table."""
    more_is_better: bool
    least: float = 0.0
    """What is less is drawn as this: the axis is logarithmic."""


def _thousands(rows: Sequence[Row]) -> float | None:
    value = fact(rows, "quantizer_parameters")
    return None if value is None else value / 1000


def _step_seconds(rows: Sequence[Row]) -> float | None:
    return fact(rows, "train_cpu_seconds_a_step")


AXES: dict[str, tuple[Axis, ...]] = {
    "quantizers": (
        Axis("encoding, × real time", lambda rows: fact(rows, "encode_x"), "encode ×", True),
        Axis("parameters of the quantizer, thousands", _thousands, "parameters, k", False),
    ),
    "recipes": (
        Axis("coded kbps", lambda rows: kbps(rows, "coded_bits"), "coded kbps", False),
        Axis("a step of training, s of the processor", _step_seconds, "s/step", False),
    ),
    "mixers": (
        Axis("speed, × real time", codec_speed, "speed ×", True),
        Axis("state of the stream, bytes (none is drawn as 1)", lambda rows: fact(rows, "state_bytes"), "state, bytes", False, 1),
    ),
}


@dataclass(frozen=True)
class Dot:
    """A variant in one figure."""

    name: str
    """With its mark."""
    group: int
    cost: float
    mean: float
    low: float
    high: float


def front(points: Sequence[tuple[float, float]], more_x: bool, more_y: bool) -> list[int]:
    """The indices of the points that no other point beats in both, by x."""
    signed = [(x if more_x else -x, y if more_y else -y) for x, y in points]
    kept = [i for i, p in enumerate(signed) if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in signed)]
    return sorted(kept, key=lambda i: points[i])


def pareto_figures(comparison: Comparison, group: str) -> list[Figure]:
    """Mel distance and PESQ against each cost; on the front is what streams and is no control."""
    return [figure(_dots(comparison, group, scale, axis), scale, axis) for axis in AXES[comparison.part] for scale in SCALES[:2]]


def _dots(comparison: Comparison, group: str, scale: Scale, axis: Axis) -> list[Dot]:
    dots = []
    for variant in tables.trained(comparison, group):
        rows = comparison.of(variant)
        quality, cost = mean_estimate(list(tables.means(rows, scale).values())), axis.of(rows)
        if cost is not None and quality.n and math.isfinite(cost):
            kind = CONTROL if variant.control else STREAMS if variant.streams else OFFLINE
            dots.append(Dot(variant.name + variant.mark, kind, cost, quality.mean, quality.low, quality.high))
    return dots


def figure(dots: Sequence[Dot], scale: Scale, axis: Axis) -> Figure:
    """The dots and their front as plain data."""
    points: list[dict[str, Any]] = []
    places: dict[str, tuple[float, float]] = {}
    for dot in dots:
        interval = f"[{dot.low:.{scale.digits}f}, {dot.high:.{scale.digits}f}]"
        name, cost = html.escape(dot.name), max(dot.cost, axis.least)
        points.append(
            {
                "name": name,
                "x": _short(cost),
                "y": _short(dot.mean),
                "plus": _short(dot.high - dot.mean),
                "minus": _short(dot.mean - dot.low),
                "text": f"<b>{name}</b><br>{scale.title} {dot.mean:.{scale.digits}f} {interval}<br>{axis.title}: {cost:.3g}",
                "group": dot.group,
            }
        )
        if dot.group == STREAMS:
            places[name] = _short(cost), _short(dot.mean)
    names = list(places)
    best = [names[i] for i in front(list(places.values()), axis.more_is_better, scale.higher_is_better)]
    return {
        "title": scale.marked,
        "better": scale.better_is,
        "x_title": axis.title,
        "x_better": "more" if axis.more_is_better else "less",
        "points": points,
        "front": {"x": [places[name][0] for name in best], "y": [places[name][1] for name in best], "names": best},
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def ranked_figures(comparison: Comparison) -> dict[str, list[Figure]]:
    """Group -> mel distance against each cost."""
    axes = AXES[comparison.part]
    groups = tables.groups(comparison)
    return {group: [figure(_dots(comparison, group, RANKED, axis), RANKED, axis) for axis in axes] for group in groups}


def front_table(figures: dict[str, list[Figure]]) -> Table:
    """The names on the fronts, a row for each table."""
    titles = [figure["x_title"] for figure in next(iter(figures.values()))]
    columns = [Column(name, "text") for name in ("table", *(f"{RANKED.marked} and {title}" for title in titles))]
    rows: list[list[Cell]] = []
    for group, each in figures.items():
        rows.append([group, *(html.unescape(", ".join(figure["front"]["names"])) for figure in each)])
    note = explained("What streams and is beaten in both by nothing else that does.", [RANKED])
    return Table("Fronts", columns, rows, note)


# Tables in Markdown --------------------------------------------------------------------------------------------------


def figures_of_tables(path: Path, part: str) -> dict[str, list[Figure]]:
    """The same, heading -> figures, out of the tables of a comparison as Markdown.

    Raises:
        FileError: the file cannot be read, or has no such table.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({error})") from None
    first, heading = tables.first_column(part), ""
    found: dict[str, list[Figure]] = {}
    for i, line in enumerate(lines):
        heading = line.lstrip("# ") if line.startswith("#") else heading
        if _cells(line)[:1] == [first]:
            columns = _cells(line)
            rows = [dict(zip(columns, _cells(row), strict=False)) for row in _until_blank(lines[i + 2 :])]
            axes = [axis for axis in AXES[part] if axis.column in columns]
            found[heading] = [figure(_dots_of_rows(rows, first, axis), RANKED, axis) for axis in axes]
    if not found:
        raise FileError(
            f"{path}: has no table whose first column is {first!r}; give one that mixcodec compare {part} has written"
        )
    return found


def _dots_of_rows(rows: Sequence[dict[str, str]], first: str, axis: Axis) -> list[Dot]:
    title = scale_column(RANKED).title
    unmarked = title.replace(f" {DAGGER}", "")  # as tables written before scales were marked have it
    dots = []
    for row in rows:
        quality = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", row.get(title) or row.get(unmarked, ""))]
        cost = re.fullmatch(r"\d[\d.e+-]*", row[axis.column])
        if len(quality) == 3 and cost:
            name = row[first]
            kind = CONTROL if name.endswith("(control)") else OFFLINE if name.endswith("(offline)") else STREAMS
            dots.append(Dot(name, kind, float(cost[0]), *quality))
    return dots


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def _until_blank(lines: Sequence[str]) -> list[str]:
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return list(lines[:end])
