"""A bake-off: every variant trained by the same recipe on the same data with the same seeds, scored on the same clips.

recipe -> variants -> (shared autoencoder) -> variants x seeds in processes (a file each) -> tables, page
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mixcodec import __version__
from mixcodec.data import open_data
from mixcodec.errors import ConfigError, UsageError
from mixcodec.evaluate.bench.machine import describe_machine, versions
from mixcodec.evaluate.compare.mixers import mixer_variants
from mixcodec.evaluate.compare.quantizers import quantizer_variants
from mixcodec.evaluate.compare.recipes import recipe_variants
from mixcodec.evaluate.compare.rows import Row, Rows, file_hash, row_key, shared_key
from mixcodec.evaluate.compare.score import METRICS, Clips
from mixcodec.evaluate.compare.trial import CHECKPOINT, Task, failed, run_trial, train_shared
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.evaluate.metrics import METRICS as ALL_METRICS
from mixcodec.evaluate.run import begin_work
from mixcodec.extras import need_package
from mixcodec.registry import nearest
from mixcodec.train import Recipe
from mixcodec.train.loop import revision
from mixcodec.train.precision import settled

PARTS: dict[str, Callable[[Plan], list[Variant]]] = {
    "quantizers": lambda plan: quantizer_variants(plan.recipe.codec, plan.kinds),
    "mixers": lambda plan: mixer_variants(plan.recipe.codec, plan.kinds),
    "recipes": lambda plan: recipe_variants(plan.recipe, plan.others, plan.kinds),
}
"""What can be compared."""
SHARES = {"quantizers"}
"""Where the autoencoder before the part is the same for all, so that it is trained once."""

WAITING = "not trained yet: the time was up; the same command goes on"

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be compared."""

    part: str
    """quantizers, mixers or recipes."""
    recipe: Recipe
    """The base: its codec, with one part replaced, is every variant's."""
    kinds: tuple[str, ...] = ()
    """Kinds, or names of recipes, to take; none for all."""
    seeds: tuple[int, ...] = (0,)
    clips: Clips = dataclasses.field(default_factory=Clips)
    jobs: int = 1
    minutes: float = math.inf
    """After so many no further row is begun: what is missing is told as not measured, and the next run goes on with it."""
    command: str = ""
    others: tuple[Recipe, ...] = ()
    """The recipes that are compared with the base, where the part is recipes."""
    initial: Path | None = None
    """A checkpoint or a model folder that recipes begin with."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came out: of each variant a row for each seed, and what made them."""

    part: str
    variants: list[Variant]
    rows: dict[str, list[Row]]
    """Group and name of a variant, joined by a slash -> its rows, in the order of the seeds."""
    base: tuple[str, ...]
    """Kinds of the part that the base has: what a table's others are measured against is the first of them that it has."""
    about: dict[str, Any]

    def of(self, variant: Variant) -> list[Row]:
        """The rows of a variant."""
        return self.rows[place(variant)]


def place(variant: Variant) -> str:
    """The key of a variant in a comparison."""
    return f"{variant.group}/{variant.name}"


def compare(plan: Plan, out: Path, tell: Tell = lambda _: None) -> Comparison:
    """Train and score what is not in the folder `out` yet, and give all of it. Rows that failed are tried again.

    Raises:
        MixcodecError: a kind or the recipe is unknown, the data cannot be opened, the folder cannot be written.
    """
    if plan.part not in PARTS:
        raise UsageError(f"nothing to compare is called {plan.part!r}: {nearest(plan.part, list(PARTS))}")
    for package in ("plotly", "pesq", "pystoi"):
        need_package(package, "eval", "mixcodec compare")
    for kind in METRICS:
        ALL_METRICS.build(kind).check()
    if not plan.recipe.codebooks_from < plan.recipe.steps:
        told = f"codebooks_from is {plan.recipe.codebooks_from}, but the codebooks need steps: the recipe has {plan.recipe.steps}"
        raise ConfigError(told)
    deadline = time.monotonic() + 60 * plan.minutes
    plan = dataclasses.replace(plan, recipe=settled(plan.recipe), others=tuple(map(settled, plan.others)))
    variants = PARTS[plan.part](plan)
    data = open_data(plan.recipe.data)
    plan.clips.waves(data)  # a clip that cannot be read is told at once
    store = Rows(out / "rows")
    shares = plan.part in SHARES and plan.recipe.codebooks_from > 0
    initial = file_hash(plan.initial) if plan.initial else ""
    keys: dict[tuple[str, int], str] = {}
    tasks: dict[str, Task] = {}
    for variant in variants:
        for seed in plan.seeds if not variant.problem else ():
            recipe = dataclasses.replace(plan.recipe, seed=seed)
            if variant.recipe is not None:
                recipe = dataclasses.replace(variant.recipe, seed=variant.recipe.seed + seed)
            key = keys[place(variant), seed] = row_key(variant, recipe, data.manifest_hash, plan.clips, shares, initial)
            held = store.read(key)
            if held is None or held["status"] != "done":
                shared = out / "shared" / shared_key(recipe, data.manifest_hash) / CHECKPOINT if shares else None
                tasks.setdefault(key, Task(variant, recipe, out / "training" / key, shared, plan.clips, plan.initial))
    tell(f"{len(variants)} variants, {len(tasks)} of {len(set(keys.values()))} rows to train")
    for shared, recipe in {task.shared: task.recipe for task in tasks.values() if task.shared}.items():
        if time.monotonic() < deadline:
            train_shared(recipe, shared)
            tell(f"seed {recipe.seed}: the shared autoencoder has been trained for {recipe.codebooks_from} steps")
    for number, (key, row) in enumerate(_in_processes(tasks, plan.jobs, deadline), 1):
        store.write(key, row | {"name": tasks[key].variant.name, "seed": tasks[key].recipe.seed, "revision": revision()})
        tell(f"{number}/{len(tasks)} {_told(tasks[key], row)}")

    def held_rows(variant: Variant) -> list[Row]:
        if variant.problem:
            return [failed(variant.problem)] * len(plan.seeds)
        return [store.read(keys[place(variant), seed]) or failed(WAITING) for seed in plan.seeds]

    rows = {place(variant): held_rows(variant) for variant in variants}
    return Comparison(plan.part, variants, rows, _base_kinds(plan), _about(plan, data.manifest_hash))


def _told(task: Task, row: Row) -> str:
    name = f"{task.variant.group}: {task.variant.name}, seed {task.recipe.seed}"
    if row["status"] != "done":
        return f"{name}: failed: {row['reason']}"
    means = {scale: sum(values.values()) / len(values) for scale, values in row["scores"].items() if values}
    return f"{name}: " + ", ".join(f"{scale} {mean:.3f}" for scale, mean in means.items()) + f" ({row['wall_seconds']:.0f} s)"


def _base_kinds(plan: Plan) -> tuple[str, ...]:
    if plan.part == "recipes":
        return (plan.recipe.name,)
    codec = plan.recipe.codec
    part = codec["quantizer"] if plan.part == "quantizers" else codec["encoder"]["stages"][0]["mixer"]
    part = {"kind": part} if isinstance(part, str) else part
    return tuple(str(one["kind"]) for one in (part, part.get("codebook", {})) if "kind" in one)


def _about(plan: Plan, manifest: str) -> dict[str, Any]:
    recipe, clips = plan.recipe, plan.clips
    return {
        "command": plan.command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "recipe": recipe.name,
        "steps": recipe.steps,
        "codebooks_from": recipe.codebooks_from,
        "shared": plan.part in SHARES,
        "initial": plan.initial.name if plan.initial else "",
        "books": list(clips.books),
        "seconds_a_step": recipe.data.batch_size * recipe.data.segment_seconds * recipe.devices,
        "seeds": list(plan.seeds),
        "manifest": manifest[:16],
        "clips": len(clips.names) or clips.count,
        "clip_source": "a list" if clips.names else f"{clips.seconds:g} s each of speakers held out",
        "machine": describe_machine(),
        "versions": versions() | {"mixcodec": __version__},
        "revision": revision(),
    }


def _in_processes(tasks: dict[str, Task], jobs: int, deadline: float) -> Iterator[tuple[str, Row]]:
    """The key and the row of each task as they come: one job works in this process, several in their own.

    None is begun after the deadline. A task whose process dies twice, the second time alone, is one that failed.
    """
    if jobs == 1:
        for key, task in tasks.items():
            if time.monotonic() < deadline:
                yield key, run_trial(task)
        return
    suspects = dict(tasks)
    for alone in (False, True):
        batches: Iterable[dict[str, Task]] = [{k: t} for k, t in suspects.items()] if alone else [suspects]
        suspects = {}
        for batch in batches:
            left: dict[str, Task] = {}
            try:
                for key, row in _pooled(batch, 1 if alone else jobs, deadline, left):
                    yield key, row
            except BrokenProcessPool:
                suspects |= left
        if not suspects:
            return
    for key in suspects:
        yield key, failed("the process that trained it died: out of memory, or a fault in native code")


def _pooled(tasks: dict[str, Task], jobs: int, deadline: float, left: dict[str, Task]) -> Iterator[tuple[str, Row]]:
    """The rows as they come. `left` holds, at every moment, the tasks that have no row yet."""
    context = multiprocessing.get_context("spawn")  # forked ones would share the threads of torch
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    left |= tasks
    waiting = list(tasks)
    running: dict[concurrent.futures.Future[Row], str] = {}
    with concurrent.futures.ProcessPoolExecutor(max(1, min(jobs, len(tasks))), context, begin_work, (os.getpid(),)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < jobs and time.monotonic() < deadline:
                    key = waiting.pop(0)
                    running[pool.submit(run_trial, tasks[key])] = key
                if not running:
                    return
                for future in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done:
                    row = future.result()
                    key = running.pop(future)
                    del left[key]
                    yield key, row
        except BaseException:
            for process in list((pool._processes or {}).values()):  # or leaving the block would wait for their steps
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def checked(plan: Plan) -> Plan:
    """The plan, if it makes sense. Raises UsageError."""
    if plan.jobs < 1:
        raise UsageError(f"--jobs is {plan.jobs}, but must be at least 1")
    if not plan.minutes >= 0:
        raise UsageError(f"--minutes is {plan.minutes:g}, but must not be negative")
    if not plan.seeds or min(plan.seeds) < 0 or len(set(plan.seeds)) < len(plan.seeds):
        raise UsageError("--seeds are whole numbers from 0 up, each once")
    if any(recipe.hours for recipe in (plan.recipe, *plan.others)):
        raise UsageError("hours has no meaning in a comparison, in which all take the same steps: leave it out, give --steps")
    if plan.clips.count < 1 or not 0.5 <= plan.clips.seconds <= 60:
        raise UsageError("--clips is at least 1, and --clip-seconds from 0.5 to 60")
    return plan


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with so many steps, of which the same share comes before the codebooks. Raises ConfigError."""
    return dataclasses.replace(recipe, steps=steps, codebooks_from=round(recipe.codebooks_from * steps / recipe.steps))
