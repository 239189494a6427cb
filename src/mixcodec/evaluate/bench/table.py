"""The results as Markdown tables that can also be read as they are."""

from __future__ import annotations

from collections.abc import Sequence

from mixcodec.evaluate.bench.results import DIRECTIONS, BenchResults, Memory, Sample, Speed, Spread, spread

NONE = "-"


def report(results: BenchResults) -> str:
    """All tables, with what is needed to read them."""
    parts = [_heading(results), *(f"warning: {warning}" for warning in results.warnings)]
    parts += [_speed(results, threads) for threads in dict.fromkeys(speed.threads for speed in results.speed)]
    parts += [_startup(results), _memory(results), _flops(results)]
    notes = [f"{subject.name}: {subject.note}" for subject in results.subjects]
    notes += [f"{name}: not measured: {reason}" for name, reason in results.not_measured.items()]
    return "\n\n".join(part for part in [*parts, "\n".join(f"- {note}" for note in notes)] if part)


def _heading(results: BenchResults) -> str:
    about = results.about
    machine, busy = about["machine"], about.get("busy_cores")
    loads = f"load average {about['load_before']:g} before and {about['load_after']:g} after"
    others = "" if busy is None else f", other processes {busy:g} cores"
    packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"{machine['cpu']}, {machine['cores']} cores; {loads}{others}; {about['date']}\n{packages}\naudio: {about['audio']}"


def _speed(results: BenchResults, threads: int) -> str:
    found = {(speed.subject, speed.direction): speed for speed in results.speed if speed.threads == threads}
    seconds = next(iter(found.values())).seconds
    plural = "s" * (threads > 1)
    header = ["codec"]
    for direction in DIRECTIONS:
        header += [f"{direction} ×", "from to", "× per CPU s", "ours : it", "by CPU"]
    rows = [[*header, "runs"]]
    for subject in results.subjects:
        row = [subject.title]
        for direction in DIRECTIONS:
            row += _speed_cells(found[subject.name, direction], found[results.ours, direction])
        runs = [str(len(found[subject.name, direction].samples)) for direction in DIRECTIONS]
        rows.append([*row, "/".join(runs)])
    title = f"Warm, {threads} thread{plural}, {seconds:g} s: seconds of audio in a second (×), and in a CPU second; medians"
    return f"{title}\n\n{markdown(rows)}"


def _speed_cells(speed: Speed, ours: Speed) -> list[str]:
    cells = []
    ratios = []
    for clock in (_wall, _cpu):
        mine, its = ours.times_real(clock), speed.times_real(clock)
        cells.append(number(its.median))
        if clock is _wall:
            cells.append(_range(its))
        ratios.append(_ratio(mine.median, its.median))
    return cells + ratios


def _startup(results: BenchResults) -> str:
    if not results.startup:
        return ""
    base = next((row for row in results.startup if row.base), results.startup[0])
    floor = spread([sample.cpu for sample in base.samples]).median
    rows = [["process", "CPU s", "from to", "wall s", "from to", "CPU : base", "runs"]]
    for row in results.startup:
        cpu, wall = (spread([clock(sample) for sample in row.samples]) for clock in (_cpu, _wall))
        cells = [number(cpu.median), _range(cpu), number(wall.median), _range(wall)]
        rows.append([row.what, *cells, _ratio(cpu.median, floor), str(len(row.samples))])
    return f"Cold, whole processes; the base is `{base.what}`; medians\n\n{markdown(rows)}"


def _memory(results: BenchResults) -> str:
    lengths = sorted({memory.seconds for memory in results.memory})
    if not lengths:
        return ""
    found = {(memory.subject, memory.direction, memory.seconds): memory for memory in results.memory}
    rows = [["codec", *(cell for seconds in lengths for cell in (f"{seconds:g} s file, MB", "it : ours"))]]
    for subject in results.subjects:
        for direction in DIRECTIONS:
            if any(key[:2] == (subject.name, direction) for key in found):
                row = [f"{subject.title} {direction}"]
                for seconds in lengths:
                    row += _memory_cells(
                        found.get((subject.name, direction, seconds)), found.get((results.ours, direction, seconds))
                    )
                rows.append(row)
    return f"Peak memory of one process that codes a file\n\n{markdown(rows)}"


def _memory_cells(memory: Memory | None, ours: Memory | None) -> list[str]:
    if memory is None:
        return [NONE, NONE]
    if memory.megabytes is None:
        return [memory.problem, NONE]
    ratio = NONE if ours is None or ours.megabytes is None else _ratio(memory.megabytes, ours.megabytes)
    return [f"{memory.megabytes:.0f}", ratio]


def _flops(results: BenchResults) -> str:
    if not results.flops:
        return ""
    found = {(flops.subject, flops.direction): flops for flops in results.flops}
    rows = [["codec", *(cell for direction in DIRECTIONS for cell in (f"{direction} GFLOP/s", "it : ours"))]]
    for subject in results.subjects:
        if (subject.name, DIRECTIONS[0]) in found:
            row = [subject.title]
            for direction in DIRECTIONS:
                flops, ours = found[subject.name, direction], found[results.ours, direction]
                least = "at least " * bool(flops.uncounted)
                row += [f"{least}{number(flops.per_second / 1e9)}", _ratio(flops.per_second, ours.per_second)]
            rows.append(row)
    title = (
        "Arithmetic for each second of audio, 10^9 operations: 2 for each multiply-add of convolutions, matrix products and LSTMs"
    )
    return f"{title}\n\n{markdown(rows)}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first row its header, the first column to the left and all others to the right."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"| {' | '.join([first.strip().ljust(widths[0]), *rest])} |")
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _range(found: Spread) -> str:
    return f"{number(found.low)}-{number(found.high)}"


def _ratio(one: float, other: float) -> str:
    return number(one / other) if other else NONE


def _wall(sample: Sample) -> float:
    return sample.wall


def _cpu(sample: Sample) -> float:
    return sample.cpu
