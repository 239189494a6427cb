"""The tables of a bake-off: what each kind reached, how that differs from the base, what failed, what made it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from mixcodec.evaluate.bench.table import number
from mixcodec.evaluate.compare.rows import Row
from mixcodec.evaluate.compare.run import Comparison
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.evaluate.metrics import METRICS
from mixcodec.evaluate.metrics.base import Scale, explained
from mixcodec.evaluate.report.summary import table_markdown
from mixcodec.evaluate.report.tables import MISSING, Cell, Column, Mean, Table, difference_mean, fixed, scale_column
from mixcodec.evaluate.statistics import mean_estimate, paired_difference

KINDS_OF_METRICS = ("mel", "pesq_wb", "stoi")
SCALES: tuple[Scale, ...] = tuple(scale for kind in KINDS_OF_METRICS for scale in METRICS.build(kind).scales)
RANKED = SCALES[0]
"""The scale that rows are sorted by: what every loss here lowers, and the steadiest at little training."""

COST_NOTES = {
    "quantizers": (
        "coded kbps: what tables of counts from training speakers spend on the scored clips; used: share of the entries that "
        "occurred in {frames} frames of training speakers, mean over codebooks; perplexity: of a codebook on the scored clips, "
        "mean over codebooks. encode ×: seconds of sound in a second of the processor, one thread, one "
        "block of 8 s, torch; parameters: of the quantizer, tables of entries among them. s/step: of the processor, in training."
    ),
    "mixers": (
        "speed ×: seconds of sound in a second of the processor, encoding and decoding together, one thread, one block of 8 s, "
        "torch; frame: milliseconds of the processor for a frame of the stream, both ways; state: bytes that encoder and decoder "
        "carry from frame to frame; latency: algorithmic, one frame and the transform's overlap; parameters: of the whole "
        "codec; MFLOP/s: products of the two stacks for a second of sound. Offline kinds see the whole clip."
    ),
    "recipes": (
        "Scored with {books} codebooks, and with fewer where a column says so. coded kbps: what tables of counts from training "
        "speakers spend on the scored clips; used: share of the entries that occurred in {frames} frames of training speakers, "
        "mean over all codebooks; speed ×: seconds of sound in a second of the processor, encoding and decoding together, one "
        "thread, one block of 8 s, torch; parameters: of the whole codec; s/step: of the processor, in training."
    ),
}
RATED = ("quantizers", "recipes")
"""Where the bits that codes cost are a column."""


def scales(comparison: Comparison) -> tuple[Scale, ...]:
    """The scales of all columns of quality: at the first number of codebooks that was scored, then at the others."""
    return SCALES + tuple(
        dataclasses.replace(scale, name=f"{scale.name}@{k}", title=f"{scale.title}, {k} codebooks")
        for k in comparison.about["books"][1:]
        for scale in SCALES
    )


def means(rows: Sequence[Row], scale: Scale) -> dict[str, float]:
    """Clip -> the mean over seeds, of the clips that every seed has a score for."""
    done = [row["scores"].get(scale.name, {}) for row in rows if row["status"] == "done"]
    if not done:
        return {}
    return {clip: statistics.fmean(scores[clip] for scores in done) for clip in done[0] if all(clip in scores for scores in done)}


def spread(rows: Sequence[Row], scale: Scale) -> float | None:
    """The standard deviation between seeds of the mean over clips; None with fewer than two seeds."""
    each = [
        statistics.fmean(row["scores"][scale.name].values())
        for row in rows
        if row["status"] == "done" and row["scores"].get(scale.name)
    ]
    return statistics.stdev(each) if len(each) > 1 else None


def fact(rows: Sequence[Row], name: str) -> float | None:
    """The mean over seeds of a measured number, or of a list of them; None where there is none."""
    found = [row[name] for row in rows if row["status"] == "done" and row.get(name) is not None]
    flat = [statistics.fmean(value) if isinstance(value, list) else float(value) for value in found]
    return statistics.fmean(flat) if flat else None


def groups(comparison: Comparison) -> list[str]:
    """The tables, in order."""
    return list(dict.fromkeys(variant.group for variant in comparison.variants))


def trained(comparison: Comparison, group: str) -> list[Variant]:
    """The variants of a group that have a row, the best first."""
    found = [v for v in comparison.variants if v.group == group and any(row["status"] == "done" for row in comparison.of(v))]

    def rank(variant: Variant) -> tuple[float, str]:
        mean = mean_estimate(list(means(comparison.of(variant), RANKED).values()), 1).mean
        return (-RANKED.goodness(mean), variant.name)

    return sorted(found, key=rank)


def first_column(part: str) -> str:
    """How a table calls its variants."""
    return part.removesuffix("s").replace("mixer", "token mixer")


def group_table(comparison: Comparison, group: str) -> Table:
    """What the kinds of a group reached and cost."""
    rows: list[list[Cell]] = []
    seeds, books = len(comparison.about["seeds"]), comparison.about["books"][:1]
    for variant in trained(comparison, group):
        own = comparison.of(variant)
        cells: list[Cell] = [variant.name + variant.mark]
        if comparison.part in RATED:
            cells += [_kbps(own, "nominal_bits"), _kbps(own, "coded_bits")]
        cells += [Mean(mean_estimate(list(means(own, scale).values())), scale.digits) for scale in scales(comparison)]
        if seeds > 1:
            between = spread(own, RANKED)
            cells.append(MISSING if between is None else f"{between:.3f}")
        rows.append([*cells, *_costs(comparison.part, own)])
    columns = [Column(first_column(comparison.part), "point")]
    if comparison.part in RATED:
        columns += [Column("nominal kbps"), Column("coded kbps")]
    columns += [scale_column(scale) for scale in scales(comparison)]
    if seeds > 1:
        columns.append(Column(f"± {RANKED.title}, seeds"))
    columns += [Column(title) for title in COSTS[comparison.part]]
    frames = max((int(row.get("learned_frames", 0)) for v in trained(comparison, group) for row in comparison.of(v)), default=0)
    costs = COST_NOTES[comparison.part].format(frames=frames, books=(*books, "all")[0])
    note = f"Means over clips with 95 % bootstrap intervals over the clips. {costs}"
    if seeds > 1:
        note += f" ±: standard deviation between {seeds} seeds of the mean."
    return Table(group[0].upper() + group[1:], columns, rows, explained(note, scales(comparison)))


COSTS: Mapping[str, tuple[str, ...]] = {
    "quantizers": ("used, %", "perplexity", "encode ×", "parameters, k", "s/step"),
    "recipes": ("used, %", "speed ×", "parameters, k", "s/step"),
    "mixers": ("speed ×", "frame, ms", "state, bytes", "latency, ms", "parameters, k", "MFLOP/s", "s/step"),
}


def _costs(part: str, rows: Sequence[Row]) -> list[Cell]:
    step = _shown(fact(rows, "train_cpu_seconds_a_step"), 1)
    if part == "quantizers":
        cost = [_shown(fact(rows, "used"), 100), _shown(fact(rows, "perplexity"), 1), _shown(fact(rows, "encode_x"), 1)]
        return [*cost, _shown(fact(rows, "quantizer_parameters"), 1e-3), step]
    if part == "recipes":
        cost = [_shown(fact(rows, "used"), 100), _shown(codec_speed(rows), 1), _shown(fact(rows, "parameters"), 1e-3)]
        return [*cost, step]
    state, latency = fact(rows, "state_bytes"), fact(rows, "latency_ms")
    return [
        _shown(codec_speed(rows), 1),
        _shown(fact(rows, "frame_ms"), 1),
        MISSING if state is None else f"{state:.0f}",
        "clip" if latency is None else f"{latency:g}",
        _shown(fact(rows, "parameters"), 1e-3),
        _shown(fact(rows, "stack_flops"), 1e-6),
        step,
    ]


def codec_speed(rows: Sequence[Row]) -> float | None:
    """Seconds of sound in a second of the processor, both ways together."""
    ways = [fact(rows, name) for name in ("encode_x", "decode_x")]
    return None if None in ways else 1 / sum(1 / way for way in ways if way)


def _shown(value: float | None, unit: float) -> str:
    return MISSING if value is None else number(value * unit) if value else "0"


def kbps(rows: Sequence[Row], name: str) -> float | None:
    """Bits a frame as kbps."""
    bits, rate = fact(rows, name), fact(rows, "frame_rate")
    return None if bits is None or rate is None else bits * rate / 1000


def _kbps(rows: Sequence[Row], name: str) -> str:
    value = kbps(rows, name)
    return MISSING if value is None else fixed(value, 2)


def difference_table(comparison: Comparison, group: str) -> Table | None:
    """Each kind minus the base, clip by clip; None where the base is not in the group."""
    found = trained(comparison, group)
    base = next((v for kind in comparison.base for v in found if v.kind == kind), None)
    if base is None or len(found) < 2:
        return None
    own = comparison.of(base)
    rows: list[list[Cell]] = []
    for variant in found:
        if variant is not base:
            cells = [_difference(comparison.of(variant), own, scale) for scale in scales(comparison)]
            rows.append([variant.name + variant.mark, *cells])
    note = (
        "Mean over clips of the differences clip by clip, with the 95 % bootstrap interval over clips. Marked where the interval "
        "leaves out zero; that says that these weights differ on these clips, and nothing of another seed or more steps."
    )
    columns = [Column("kind", "point"), *(scale_column(scale) for scale in scales(comparison))]
    title = f"{group[0].upper() + group[1:]}: difference from {base.name}"
    return Table(title, columns, rows, explained(note, scales(comparison)))


def _difference(rows: Sequence[Row], others: Sequence[Row], scale: Scale) -> Mean:
    first, second = means(rows, scale), means(others, scale)
    return difference_mean(paired_difference(first, second), first, second, scale)


def failure_table(comparison: Comparison) -> Table | None:
    """Every variant that has no row, or only in part, and why."""
    rows: list[list[Cell]] = []
    for variant in comparison.variants:
        for seed, row in zip(comparison.about["seeds"], comparison.of(variant), strict=True):
            if row["status"] != "done":
                rows.append([variant.name, variant.group, str(seed), row["reason"]])
                continue
            for name, clips in row["problems"].items():
                reasons = ", ".join(sorted(set(clips.values())))
                rows.append([variant.name, variant.group, str(seed), f"{name} of {len(clips)} clips: {reasons}"])
    if not rows:
        return None
    return Table("Not measured", [Column(name, "text") for name in ("kind", "table", "seed", "why")], rows)


def about_table(comparison: Comparison) -> Table:
    """What one must know to repeat it."""
    about = comparison.about
    shared = f", the first {about['codebooks_from']} of them an autoencoder that all share" if about["shared"] else ""
    begun = f", from the weights of {about['initial']}" if about["initial"] else ""
    facts = {
        "recipe": f"{about['recipe']}: {about['steps']} steps of {about['seconds_a_step']:g} s{shared}{begun}",
        "seeds": ", ".join(map(str, about["seeds"])),
        "scored on": f"{about['clips']} clips, {about['clip_source']}",
        "data manifest": about["manifest"],
        "date": about["date"],
        "time": _time(comparison),
        "code revisions": ", ".join(_revisions(comparison)) or MISSING,
        "machine": f"{about['machine']['cpu']}, {about['machine']['cores']} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    }
    return Table("How it was made", [Column("what", "text"), Column("value", "text")], [[k, v] for k, v in facts.items()])


def _time(comparison: Comparison) -> str:
    """What the rows took of the processor: on a machine that does other things too, the clock on the wall says little."""
    done = [row for rows in comparison.rows.values() for row in rows if row["status"] == "done"]
    spent = {row["weights"]: row["cpu_seconds"] for row in done if "cpu_seconds" in row}  # one row may be in two tables
    if not spent:
        return MISSING
    return f"{sum(spent.values()) / 60:.1f} minutes of the processor for {len(spent)} of {len({r['weights'] for r in done})} rows"


def _revisions(comparison: Comparison) -> list[str]:
    found = {str(row["revision"]) for rows in comparison.rows.values() for row in rows if row["status"] == "done"}
    return sorted(found - {"unknown"})


def tables(comparison: Comparison) -> list[Table]:
    """All tables, in order."""
    found: list[Table | None] = []
    for group in groups(comparison):
        found += [group_table(comparison, group), difference_table(comparison, group)]
    return [table for table in [*found, failure_table(comparison), about_table(comparison)] if table]


def markdown(comparison: Comparison, more: Sequence[Table] = ()) -> str:
    """All tables, and `more` after them, as Markdown, the command on top."""
    command = comparison.about["command"]
    head = f"# Comparison of {comparison.part}\n\n" + (f"```sh\n{command}\n```\n\n" if command else "")
    return head + "\n\n".join(map(table_markdown, [*tables(comparison), *more])) + "\n"
