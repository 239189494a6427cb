"""The tables of a report as plain objects, worked out once; the HTML page and the Markdown summary only render them.

A mean is never a bare number here: a `Mean` carries its interval and its n, and every renderer shows all three.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from mixcodec.evaluate.metrics.base import Scale, explained
from mixcodec.evaluate.report.findings import Findings, estimate, ranking_scale
from mixcodec.evaluate.results import Row
from mixcodec.evaluate.statistics import Estimate, bd_rate

MISSING = "–"
MOST_BASELINES = 16
MOST_SPEAKERS = 60
MOST_FAILURES = 500
GROUPS: dict[str, Callable[[Row], str]] = {"language": lambda row: row.language, "speaker": lambda row: row.speaker}


@dataclasses.dataclass(frozen=True)
class Mean:
    """A cell that is a mean over clips."""

    estimate: Estimate
    digits: int
    signed: bool = False
    verdict: Literal["", "better", "worse"] = ""
    """Of a difference whose interval leaves out zero."""

    @property
    def value(self) -> str:
        """The mean itself."""
        return self._number(self.estimate.mean) if self.estimate.n else MISSING

    @property
    def interval(self) -> str:
        """In brackets; one clip alone has none, which is said."""
        if self.estimate.n < 2:
            return f"[{MISSING}]" if self.estimate.n else ""
        return f"[{self._number(self.estimate.low)}, {self._number(self.estimate.high)}]"

    def _number(self, value: float) -> str:
        text = f"{value:{'+' if self.signed else ''}.{self.digits}f}"
        return text if float(text) else text.lstrip("-+")  # a zero has no sign


Cell = str | Mean


@dataclasses.dataclass(frozen=True)
class Column:
    """How to head and to align the cells of one column."""

    title: str
    kind: Literal["text", "point", "number"] = "number"
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A title, columns, rows of cells, and what one must know to read them."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""

    @property
    def has_means(self) -> bool:
        """Whether a column n belongs to it."""
        return any(isinstance(cell, Mean) for row in self.rows for cell in row)

    @property
    def first_mean(self) -> int:
        """Where the column n stands: just before the first mean."""
        return min(i for row in self.rows for i, cell in enumerate(row) if isinstance(cell, Mean))


def row_n(row: list[Cell]) -> int:
    """The n of a row: that of most of its means (the larger of equally many). Others state theirs in the cell."""
    counts = Counter(cell.estimate.n for cell in row if isinstance(cell, Mean) and cell.estimate.n)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def own_n(cell: Mean, n: int) -> str:
    """What a cell adds in a row of n where its own n is another."""
    return "" if cell.estimate.n in (0, n) else f"n {cell.estimate.n}"


def scale_column(scale: Scale) -> Column:
    """The head of a scale's column."""
    arrow = "↑" if scale.higher_is_better else "↓"
    if scale.middle is not None:
        arrow = f"→ {scale.middle:g}"
    unit = f", {scale.unit}" if scale.unit else ""
    return Column(f"{scale.marked}{unit} {arrow}", hint=f"{scale.better_is} is better")


def fixed(value: float, digits: int) -> str:
    """A number, or a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def point_table(findings: Findings) -> Table:
    """Every operating point: what it costs, and the mean of every scale."""
    rows: list[list[Cell]] = []
    for point in findings.points:
        cost = [fixed(findings.kbps(point), 2), fixed(findings.payload_kbps(point), 2)]
        coded = f"{findings.coded(point)} of {len(findings.clips)}"
        rows.append([point, *cost, coded, *(Mean(findings.estimate(point, s), s.digits) for s in findings.scales)])
    columns = [
        Column("operating point", "point"),
        Column("real kbps", hint="whole files, headers included"),
        Column("payload kbps", hint="without a container that is not the codec's own"),
        Column("coded", hint="clips that the codec did not fail on"),
    ]
    note = (
        "Mean over clips and its 95 % bootstrap interval in brackets; n is the number of clips that have a value. Real kbps: all "
        "bits of the files over all seconds of the coded clips, headers included; payload: without a container that is not the "
        "codec's own. Rates are totals, not means. ↑ higher is better, ↓ lower, → nearer to that number. Intervals of fewer than "
        "about ten clips are too narrow, and one clip has none."
    )
    note = explained(note, findings.scales)
    return Table("All operating points", [*columns, *map(scale_column, findings.scales)], rows, note)


LEAST_CLIPS = 6
"""Fewer give no verdict: their bootstrap intervals are too narrow."""


def difference_cell(findings: Findings, one: str, other: str, scale: Scale) -> Mean:
    """The paired difference one minus other, and whether it is clear."""
    first, second = findings.values(one, scale), findings.values(other, scale)
    return difference_mean(findings.difference(one, other, scale), first, second, scale)


def difference_mean(found: Estimate, first: Mapping[str, float], second: Mapping[str, float], scale: Scale) -> Mean:
    """The cell of a paired difference `found` between two dicts of clip -> value, and whether it is clear.

    On a scale whose best lies in the middle a difference is for better or worse only where both means are on one side of it.
    """
    shared = first.keys() & second.keys()
    verdict: Literal["", "better", "worse"] = ""
    if found.n >= LEAST_CLIPS and (found.low > 0 or found.high < 0):
        one, other = (sum(values[clip] for clip in shared) / len(shared) for values in (first, second))
        if scale.middle is None or (one - scale.middle) * (other - scale.middle) >= 0:
            verdict = "better" if scale.better(one, other) else "worse"
    return Mean(found, scale.digits, signed=True, verdict=verdict)


PAIRED = (
    "Mean of the differences clip by clip, over the clips that both have, with its 95 % bootstrap interval. Marked where the "
    "interval leaves out zero; intervals are not widened for the number of comparisons."
)


def nearest_table(findings: Findings) -> Table | None:
    """mixcodec's points (without any: those of the first codec) against each other codec at no fewer bits.

    The other codec gets the point whose real rate is the nearest from above, so that it is never short of bits; where all
    its points are lower, the highest. None where there is nothing to compare.
    """
    anchors = findings.off_axis()
    weighed = [point for point in findings.points if point not in anchors and math.isfinite(findings.kbps(point))]
    codecs = list(dict.fromkeys(findings.codec_of[point] for point in weighed))
    own = [codec for codec in codecs if findings.is_own(codec)] or codecs[:1]
    rows: list[list[Cell]] = []
    for point in weighed:
        if findings.codec_of[point] not in own:
            continue
        kbps = findings.kbps(point)
        for codec in codecs:
            if codec in own:
                continue
            rivals = {rival: findings.kbps(rival) for rival in weighed if findings.codec_of[rival] == codec}
            above = {rival: rate for rival, rate in rivals.items() if rate >= kbps}
            rival = min(above, key=above.__getitem__) if above else max(rivals, key=rivals.__getitem__)
            cells = [difference_cell(findings, point, rival, scale) for scale in findings.scales]
            rows.append([point, fixed(kbps, 2), rival, fixed(rivals[rival], 2), *cells])
    if not rows:
        return None
    columns = [Column("operating point", "point"), Column("kbps"), Column("against", "point"), Column("its kbps")]
    note = (
        f"{PAIRED} The rival is the point of the other codec with the nearest real rate from above, so it is never short of "
        "bits; where it has none above, its highest."
    )
    if anchors:
        note += f" Left out for their rate: {', '.join(anchors)}."
    note = explained(note, findings.scales)
    title = f"Against the nearest rate of other codecs ({', '.join(own)} minus the other)"
    return Table(title, [*columns, *map(scale_column, findings.scales)], rows, note)


def pair_tables(findings: Findings) -> dict[str, Table]:
    """For each operating point as baseline: every other one minus it.

    Past MOST_BASELINES points only one baseline for each codec, its last point, to bound the work and the page.
    """
    baselines = findings.points
    if len(baselines) > MOST_BASELINES:
        baselines = [findings.of_codec(codec)[-1] for codec in findings.codecs][:MOST_BASELINES]
    columns = [Column("operating point", "point"), Column("kbps"), *map(scale_column, findings.scales)]
    tables = {}
    for baseline in baselines:
        rows: list[list[Cell]] = []
        for point in findings.points:
            if point != baseline:
                cells = [difference_cell(findings, point, baseline, scale) for scale in findings.scales]
                rows.append([point, fixed(findings.kbps(point), 2), *cells])
        if rows:
            title = f"Difference from {baseline} ({fixed(findings.kbps(baseline), 2)} kbps)"
            tables[baseline] = Table(title, columns, rows, explained(PAIRED, findings.scales))
    return tables


def bd_table(findings: Findings) -> Table | None:
    """Bjontegaard delta rates between the curves of codecs; None where there are not two curves."""
    anchors = findings.off_axis()
    curves = {codec: [p for p in findings.of_codec(codec) if p not in anchors] for codec in findings.codecs}
    curves = {codec: points for codec, points in curves.items() if len(points) > 1}
    names = sorted(curves, key=lambda codec: (not findings.is_own(codec), findings.codecs.index(codec)))
    rows: list[list[Cell]] = []
    for i, reference in enumerate(names):
        for codec in names[i + 1 :]:
            cells = [bd_cell(findings, curves[reference], curves[codec], scale) for scale in findings.scales]
            rows.append([codec, reference, *cells])
    if not rows:
        return None
    note = (
        "By how many percent more (+) or fewer (-) bits the codec needs than the reference codec at an equal score: Bjontegaard "
        "delta rate of the mean curves (piecewise cubic, over the range of scores that both reach), over the clips that every "
        "point of both has (n). These are no means over clips and have no interval. A curve needs two points and must "
        "rise with its rate."
    )
    columns = [Column("codec", "text"), Column("reference", "text"), *(Column(scale.marked) for scale in findings.scales)]
    return Table("Bjontegaard delta rate", columns, rows, explained(note, findings.scales))


def bd_cell(findings: Findings, reference: list[str], other: list[str], scale: Scale) -> str:
    """What the second curve needs in bits, in percent of the first; or why it can't be said."""
    held = {point: findings.values(point, scale) for point in (*reference, *other)}
    held = {point: values for point, values in held.items() if values}
    shared = [clip for clip in findings.clips if held and all(clip in values for values in held.values())]
    if not shared:
        return "no shared clips"
    curves = []
    for points in (reference, other):
        known = sorted(
            (mean_rate(findings, p, shared), sum(scale.goodness(held[p][c]) for c in shared)) for p in points if p in held
        )
        rates, scores = [rate for rate, _ in known], [total / len(shared) for _, total in known]
        if len(known) < 2:
            return "fewer than 2 points"
        if not rising(rates) or not rising(scores):
            return "does not rise with rate"
        curves += [rates, scores]
    percent = bd_rate(*curves)
    return f"{percent:+.1f} % (n {len(shared)})" if math.isfinite(percent) else "no shared scores"


def rising(values: list[float]) -> bool:
    """Whether each is above the one before."""
    return all(before < after for before, after in itertools.pairwise(values))


def mean_rate(findings: Findings, point: str, clips: Iterable[str]) -> float:
    """Real kbps over some clips."""
    rows = [findings.rows[point][clip] for clip in clips]
    done = [(row.file_bytes, row.seconds) for row in rows if row.file_bytes is not None]
    return sum(size for size, _ in done) * 8 / 1000 / sum(seconds for _, seconds in done) if done else math.nan


def breakdown_table(findings: Findings, by: str, scale: Scale) -> Table | None:
    """One scale for every language or speaker and operating point; None where it is not known of any clip."""
    name_of = GROUPS[by]
    groups: dict[str, set[str]] = {}
    for row in findings.results.rows:
        groups.setdefault(name_of(row), set()).add(row.clip)
    if set(groups) <= {""}:
        return None
    note = "Mean over the clips of a row, with its 95 % bootstrap interval."
    names = sorted(groups, key=lambda name: (name == "", name))
    if len(names) > MOST_SPEAKERS:
        names = sorted(names, key=lambda name: (-len(groups[name]), name))[:MOST_SPEAKERS]
        note += f" Of {len(groups)} {by}s, the {MOST_SPEAKERS} with the most clips."
    values = {point: findings.values(point, scale) for point in findings.points}
    rows: list[list[Cell]] = []
    for name in names:
        clips = [clip for clip in findings.clips if clip in groups[name]]
        found = [estimate(held[clip] for clip in clips if clip in held) for held in values.values()]
        rows.append([name or "not known", str(len(clips)), *(Mean(one, scale.digits) for one in found)])
    columns = [Column(by, "text"), Column("clips"), *map(Column, findings.points)]
    return Table(f"{scale_column(scale).title} by {by}", columns, rows, explained(note, [scale]))


def codebook_table(findings: Findings) -> Table | None:
    """How every codebook was used; None where no codec shows its codes."""
    uses = findings.results.codebooks
    rows: list[list[Cell]] = [
        [
            use.point,
            str(use.codebook),
            str(use.size),
            f"{100 * use.used:.1f} %",
            fixed(use.perplexity, 1),
            *(fixed(bits, 2) for bits in (use.entropy_bits, use.conditional_bits, use.file_bits)),
        ]
        for use in uses
    ]
    note = (
        "Over all clips of an operating point. Entropy: bits that a code holds on its own; given the one before: with the code "
        "before it in the same codebook known (biased low where clips are few); in the file: what a code really costs there."
    )
    titles = ("codebook", "codes", "in use", "perplexity", "entropy, bits", "given the one before, bits", "in the file, bits")
    return Table("Codebook use", [Column("operating point", "point"), *map(Column, titles)], rows, note) if rows else None


def failure_table(findings: Findings) -> Table | None:
    """Everything that has no value, and why; None where nothing is missing.

    Past MOST_FAILURES the like ones are counted and one clip of each is named, so that none goes unmentioned.
    """
    failures = findings.failures()
    if not failures:
        return None
    columns = [Column("operating point", "point"), Column("what", "text"), Column("reason", "text")]
    title = f"Failed clips and missing scores ({len(failures)})"
    if len(failures) <= MOST_FAILURES:
        rows: list[list[Cell]] = [[f.point, f.what, f.reason, f.clip] for f in failures]
        return Table(title, [*columns, Column("clip", "text")], rows, "They are in no mean above.")
    alike: dict[tuple[str, str, str], list[str]] = {}
    for f in failures:
        alike.setdefault((f.point, f.what, f.reason), []).append(f.clip)
    rows = [[*key, str(len(clips)), clips[0]] for key, clips in alike.items()]
    note = "They are in no mean above. Like ones are counted together; the results file names every one."
    return Table(title, [*columns, Column("clips"), Column("such as", "text")], rows, note)


def delay_table(findings: Findings) -> Table | None:
    """The delays that were taken out before scoring; None where none are told."""
    delays = findings.results.about.get("delays") or {}
    rate = findings.results.about.get("sample_rate")
    rows: list[list[Cell]] = [
        [
            point,
            MISSING if count is None else f"{count:g}",
            fixed(1000 * count / rate, 2) if rate and count is not None else MISSING,
        ]
        for point, count in delays.items()
    ]
    columns = [Column("operating point", "point"), Column("samples"), Column("ms")]
    note = "By how much the decoded sound came late; taken out before scoring and in the players."
    return Table("Delays taken out", columns, rows, note) if rows else None


def about_table(findings: Findings) -> Table:
    """What was run on what, except the command and the delays, which have places of their own."""
    scale = ranking_scale(findings.results)
    facts = [
        ("clips", str(len(findings.clips))),
        ("sound", f"{findings.seconds:.1f} s"),
        ("operating points", str(len(findings.points))),
        ("worst clips by", scale.title if scale else ""),
    ]
    for name, value in findings.results.about.items():
        if name not in ("command", "delays"):
            facts += _flat(value, name.replace("_", " "))
    return Table(
        "How it was made", [Column("what", "text"), Column("value", "text")], [[name, text] for name, text in facts if text]
    )


def _flat(value: Any, name: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} {key}")
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value))
    elif value is not None:
        yield name, str(value)
