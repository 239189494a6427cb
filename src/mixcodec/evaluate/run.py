"""A run: every clip through every codec, in parallel, resumable; then the tables and the report.

gates -> delays -> clips x codecs x metrics (journal) -> results.parquet, summary.md, report.html
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import importlib.metadata
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixcodec import __version__
from mixcodec.audio import Wave
from mixcodec.errors import DataError, FileError
from mixcodec.evaluate.align import DelayError, aligned, find_delay
from mixcodec.evaluate.baselines.base import Coder
from mixcodec.evaluate.clips import Clip, read_clip
from mixcodec.evaluate.codebooks import codebook_use
from mixcodec.evaluate.gates import gate_clips, prove
from mixcodec.evaluate.journal import Journal, measurement_key
from mixcodec.evaluate.measure import Conditions, Measured, blank_row, clip_rows, through
from mixcodec.evaluate.metrics import METRICS
from mixcodec.evaluate.results import CodebookUse, Results, write_results
from mixcodec.extras import need_package
from mixcodec.files import atomic_output
from mixcodec.folders import printable
from mixcodec.outside import discover
from mixcodec.temporary import remove_ours, temporary_folder

if TYPE_CHECKING:
    from mixcodec.evaluate.report import Listening

DELAY_CLIPS = 4
Progress = Callable[[float, float], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    clips: tuple[Clip, ...]
    coders: tuple[Coder, ...]
    conditions: Conditions
    jobs: int = 1
    """Processes; 1 is this one."""
    gates: bool = True
    command: str = ""
    """As the user gave it, for the report."""


def evaluate(plan: Plan, out: Path, progress: Progress | None = None) -> Results:
    """Measure what is not in the journal of the folder `out` yet, and return all of it.

    Raises:
        MixcodecError: something that the plan needs is missing, a gate failed, or the folder cannot be written.
    """
    for package in ("pyarrow", "plotly", "PIL", "scipy"):
        need_package(package, "eval", "the report")
    metrics = [METRICS.build(kind) for kind in plan.conditions.metrics]
    for coder in plan.coders:
        coder.check()
    for metric in metrics:
        metric.check()
    tests = gate_clips(plan.clips)
    if not tests:
        raise DataError(f"{plan.conditions.root}: none of the {len(plan.clips)} clips can be read as audio")
    found = prove(tests, plan.conditions) if plan.gates else []
    known = measured_delays(plan, tests[:DELAY_CLIPS])
    delays = {point: delay or 0 for point, delay in known.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{out}: cannot be made a folder ({error.strerror}); choose another with --out") from None
    versions = {coder.point: coder.version() for coder in plan.coders}
    keys = {clip.name: clip_keys(plan, clip, delays, versions) for clip in plan.clips}
    with Journal(out / OUTPUTS[0]) as journal:
        measure_all(plan, delays, keys, journal, progress)
        ordered = [_labelled(journal.done[key], clip) for clip in plan.clips for key in keys[clip.name].values()]
    results = Results(
        rows=[measured.row for measured in ordered],
        scales=[scale for metric in metrics for scale in metric.scales],
        points=[coder.point for coder in plan.coders],
        codebooks=used_codebooks(plan, ordered),
    )
    results.about = about(plan, known, found)
    return results


def measured_delays(plan: Plan, clips: Sequence[Clip]) -> dict[str, int | None]:
    """Operating point -> samples by which it lags at the evaluation's rate: one number for all clips, found on a few.

    None where it failed on all of those.

    Raises:
        DelayError: it lags by more than can be told.
    """
    conditions = plan.conditions
    references: dict[str, list[Wave]] = {coder.point: [] for coder in plan.coders}
    decoded: dict[str, list[Wave]] = {coder.point: [] for coder in plan.coders}
    for clip in clips:
        with temporary_folder() as folder:
            source = folder / "source.wav"
            with suppress(Exception):  # whatever fails here fails in the run too, which says so
                reference = read_clip(conditions.root / clip.name, source, conditions.sample_rate, conditions.mono)
                for coder in plan.coders:
                    with suppress(Exception):  # likewise
                        wave = through(coder, source, folder, conditions.sample_rate)[1]
                        references[coder.point].append(np.atleast_2d(reference)[0])
                        decoded[coder.point].append(np.atleast_2d(wave)[0])
    found: dict[str, int | None] = {}
    for point, waves in references.items():
        try:
            found[point] = find_delay(waves, decoded[point], conditions.sample_rate) if waves else None
        except DelayError as error:
            raise DelayError(f"{point}: {error}") from None
    return found


def _labelled(measured: Measured, clip: Clip) -> Measured:
    """With the clip's labels as they are now, which may have changed since it was measured, and all names as text."""
    row = dataclasses.replace(
        measured.row,
        clip=printable(clip.name),
        speaker=printable(clip.speaker),
        language=printable(clip.language),
        problems={what: printable(why) for what, why in measured.row.problems.items()},
    )
    return dataclasses.replace(measured, row=row)


def clip_keys(plan: Plan, clip: Clip, delays: dict[str, int], versions: dict[str, str]) -> dict[str, str]:
    """Operating point -> key of its measurement on a clip; `versions` are those of metrics and codecs."""
    conditions = plan.conditions
    try:
        stat = (conditions.root / clip.name).stat()
        state = [stat.st_size, stat.st_mtime_ns]
    except OSError:  # gone since it was listed: measuring it will say so
        state = []
    shared = [clip.name, *state, clip.text, *conditions.metrics, conditions.sample_rate, conditions.mono, __version__]
    packages = [sorted(metric_versions(conditions.metrics).items()), os.environ.get("MIXCODEC_WHISPER")]
    return {c.point: measurement_key([*shared, packages, c.point, versions[c.point], delays[c.point]]) for c in plan.coders}


def measure_all(
    plan: Plan, delays: dict[str, int], keys: dict[str, dict[str, str]], journal: Journal, progress: Progress | None
) -> None:
    """Bring every clip and operating point into the journal."""
    tasks: list[Task] = []
    for clip in plan.clips:
        held = {point: journal.done.get(key) for point, key in keys[clip.name].items()}
        missing = [c for c in plan.coders if (m := held[c.point]) is None or "codec" in m.row.problems]  # a failure may pass
        if missing:
            tasks.append((clip, missing, delays, plan.conditions))
    done = len(plan.clips) - len(tasks)
    for clip, rows in _in_processes(tasks, plan.jobs):
        for measured in rows:
            journal.add(keys[clip.name][measured.row.point], measured)
        done += 1
        if progress:
            progress(done, len(plan.clips))


Task = tuple[Clip, Sequence[Coder], dict[str, int], Conditions]


def _measure_task(task: Task) -> list[Measured]:
    return list(clip_rows(*task))


def _in_processes(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Clip, list[Measured]]]:
    """Each task's clip and rows as they come: one job works in this process, several in their own.

    A clip whose process dies twice, the second time alone, is a clip that failed.
    """
    if jobs == 1:
        for task in tasks:
            yield task[0], _measure_task(task)
        return
    suspects = list(tasks)
    for alone in (False, True):
        batches: Iterable[Sequence[Task]] = [[task] for task in suspects] if alone else [suspects]
        suspects = []
        for batch in batches:
            left = {task[0].name: task for task in batch}
            try:
                for clip, rows in _pooled(batch, 1 if alone else jobs):
                    del left[clip.name]
                    yield clip, rows
            except BrokenProcessPool:
                suspects += left.values()
        if not suspects:
            return
    for clip, coders, _, _ in suspects:
        reason = {"codec": "the process that measured this clip died"}
        yield clip, [Measured(blank_row(clip, coder, clip.seconds, dict(reason))) for coder in coders]


def _pooled(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Clip, list[Measured]]]:
    # A fresh interpreter for each: forked ones would share the threads of libraries that are in use already.
    context = multiprocessing.get_context("spawn")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    workers = max(1, min(jobs, len(tasks) or 1))
    with concurrent.futures.ProcessPoolExecutor(workers, context, begin_work, (os.getpid(),)) as pool:
        futures = {pool.submit(_measure_task, task): task[0] for task in tasks}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            for process in list((pool._processes or {}).values()):  # or leaving the block would wait for their clips
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def begin_work(parent: int) -> None:
    """Of a worker: it ends with its parent, and has the parts from outside before it is given any."""
    end_with_parent(parent)
    discover()


def end_with_parent(parent: int) -> None:
    """Let a worker end, and leave no temporary file, when the process that made it does or tells it to.

    The process may also have been killed, and could tell nobody.
    """

    def end(*_: object) -> None:
        remove_ours()
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()


def used_codebooks(plan: Plan, measured: Sequence[Measured]) -> list[CodebookUse]:
    """Over all clips, of every operating point that shows its codes."""
    found = []
    for coder in plan.coders:
        mine = [m for m in measured if m.row.point == coder.point and m.codes is not None and len(m.codes)]
        if mine:
            payload = sum(m.row.payload_bytes or 0 for m in mine)
            found += codebook_use(coder.point, [m.codes for m in mine if m.codes is not None], mine[0].codebook_size, payload)
    return found


PACKAGES = ("numpy", "scipy", "soxr", "soundfile", "onnxruntime")


def metric_versions(kinds: Sequence[str]) -> dict[str, str]:
    """Versions of what the metrics are computed with."""
    packages = {*PACKAGES, *(name for kind in kinds for name in METRICS.build(kind).packages)}
    found = {}
    for name in sorted(packages):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def about(plan: Plan, delays: dict[str, int | None], gates: Sequence[str]) -> dict[str, Any]:
    """What made the results, for whoever reads them later."""
    metrics = [METRICS.build(kind) for kind in plan.conditions.metrics]
    return {
        "command": printable(plan.command),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "data": printable(plan.conditions.root),
        "sample_rate": plan.conditions.sample_rate,
        "mono": plan.conditions.mono,
        "gates": [printable(line) for line in gates] or ["not run"],
        "delays": delays,
        "codecs": {coder.point: coder.source for coder in plan.coders},
        "metrics": {scale.title: metric.source for metric in metrics for scale in metric.scales},
        "versions": {"python": platform.python_version(), "mixcodec": __version__}
        | metric_versions(plan.conditions.metrics)
        | {coder.codec: coder.version() for coder in plan.coders if coder.version()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


OUTPUTS = ("journal.jsonl", "results.parquet", "summary.md", "report.html")
"""What a run writes into its folder."""


def write_outputs(plan: Plan, results: Results, out: Path) -> None:
    """Write results.parquet, summary.md and report.html into the folder `out`, each whole or not at all."""
    from mixcodec.evaluate.report import choose_clips, summary_markdown, write_report

    write_results(out / "results.parquet", results)
    with atomic_output(out / "summary.md") as file:
        file.write(summary_markdown(results).encode())
    write_report(out / "report.html", results, listening(plan, results, choose_clips(results)))


def listening(plan: Plan, results: Results, worst: dict[str, list[str]]) -> Listening:
    """The sound of the `worst` clips by every codec: coded once more, so that no run has to keep all of its sound."""
    from mixcodec.evaluate.report import Excerpt, Listening, Take

    conditions, rate = plan.conditions, plan.conditions.sample_rate
    wanted = {clip for clips in worst.values() for clip in clips}
    heard = Listening(worst=worst)
    for clip in (clip for clip in plan.clips if printable(clip.name) in wanted):
        with temporary_folder() as folder:
            source = folder / "source.wav"
            reference = read_clip(conditions.root / clip.name, source, rate, conditions.mono)
            excerpt = Excerpt(printable(clip.name), reference, rate)
            for coder in plan.coders:
                with suppress(Exception):  # it failed in the run too, and is listed there
                    wave = through(coder, source, folder, rate)[1]
                    wave = aligned(wave, results.about["delays"][coder.point] or 0, reference.shape[-1])
                    excerpt.takes[coder.point] = Take(wave, rate)
            heard.excerpts.append(excerpt)
    return heard
