"""The whole run: start-up, speed at each number of threads, memory, arithmetic."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mixcodec.errors import MixcodecError, UsageError
from mixcodec.evaluate.bench.machine import BUSY, OthersWatch, available_megabytes, describe_machine, load_average, versions
from mixcodec.evaluate.bench.process import environment, peak_memory, timed_process
from mixcodec.evaluate.bench.results import BenchResults, Memory, Sample, Startup, Subject
from mixcodec.evaluate.bench.signal import SYNTHETIC, clip, write_looped
from mixcodec.evaluate.bench.speed import interleave, measure_speed
from mixcodec.evaluate.bench.subjects import DEFAULT_PEERS, Measured, Ours, peer
from mixcodec.models import DEFAULT_MODEL
from mixcodec.temporary import temporary_folder

BASE_IMPORT = "import numpy, onnxruntime"
"""What every use of a model without torch has to import: the floor of a cold command."""
MEMORY_SHARE = 0.8
"""Of the memory that can be had: a measured process must not push the machine into swapping."""


@dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        models: shipped names or model folders; the others are compared with the first.
        peers: names of `PEERS`, each of which must be there; None measures those that are there.
        threads: numbers of threads.
        seconds: of the clip on which speed is measured.
        repeats: runs of each.
        memory_seconds: lengths of the files on which memory is measured.
        limit_gb, limit_seconds: what ends a measurement of memory.
        audio: file to take the sound from; None is a synthetic voice.
        quick: whether peers=None means Opus alone.
    """

    models: tuple[str, ...] = (DEFAULT_MODEL,)
    peers: tuple[str, ...] | None = None
    threads: tuple[int, ...] = (1, 2)
    seconds: float = 10.0
    repeats: int = 5
    memory_seconds: tuple[float, ...] = (60.0, 600.0)
    limit_gb: float = 8.0
    limit_seconds: float = 60.0
    audio: Path | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("there is nothing to compare with: name at least one model with --models")
        for option, values, least in (
            ("--threads", self.threads, 1),
            ("--seconds", (self.seconds,), 0.1),
            ("--repeats", (self.repeats,), 1),
            ("--memory-seconds", self.memory_seconds, 0.1),
            ("--limit-gb", (self.limit_gb,), 0.01),
            ("--limit-seconds", (self.limit_seconds,), 0.01),
        ):
            if bad := [value for value in values if not least <= value <= 1e6]:
                raise UsageError(f"{option} {bad[0]:g} is out of range; give at least {least:g}")
        for option, names in (("--models", self.models), ("--peers", self.peers or ()), ("--threads", self.threads)):
            if len(set(names)) < len(names):
                raise UsageError(f"{option} names something twice: {' '.join(map(str, names))}")


def run_bench(settings: BenchSettings, command: str = "", tell: Callable[[str], None] = lambda _: None) -> BenchResults:
    """Measure.

    Args:
        command: the command line to note down.
        tell: is told what is being done.

    Raises:
        MixcodecError: a model cannot be used, a peer that was asked for is not there, the audio cannot be read.
    """
    ours = [Ours(name) for name in settings.models]
    peers, missing = find_peers(settings)
    subjects: list[Measured] = [*ours, *peers]
    results = BenchResults(_about(settings, command), [], ours[0].name, not_measured=missing)
    if (load := results.about["load_before"]) > BUSY:
        results.warnings.append(f"load average {load:g} before the run: another process is busy, so trust the CPU times")
    watch = OthersWatch()
    with temporary_folder() as folder:
        clips = {}
        for rate in sorted({subject.sample_rate for subject in subjects}):
            clips[rate] = folder / f"clip-{rate}.wav"
            write_looped(clips[rate], clip(settings.audio, rate), rate, settings.seconds)
        for number, threads in enumerate(settings.threads):
            found = measure_speed(subjects, clips, settings.seconds, threads, settings.repeats, not number, tell)
            results.speed += found[0]
            results.flops += found[1]
        results.startup = measure_startup(ours, peers, clips, settings, folder, tell)
        for subject in subjects:
            results.memory += measure_memory(subject, settings, folder, tell)
    results.subjects = [Subject(s.name, s.kind, s.title, s.sample_rate, s.note) for s in subjects]
    results.about["load_after"] = load_average()
    results.about["busy_cores"] = busy = watch.busy_cores()
    if busy is not None and busy > BUSY:
        cores = results.about["machine"]["cores"]
        results.warnings.append(f"other processes used {busy:g} of {cores} cores during the run: trust the CPU times")
    return results


def find_peers(settings: BenchSettings) -> tuple[list[Measured], dict[str, str]]:
    """The peers to measure, and why others are not. Raises MixcodecError where one was asked for by name and is missing."""
    if settings.peers is not None:
        peers = [peer(name) for name in settings.peers]
        for each in peers:
            each.check()
        return peers, {}
    found, missing = [], {}
    for name in DEFAULT_PEERS:
        each = peer(name)
        try:
            if settings.quick and name != "opus":
                raise MixcodecError(f"left out by --quick; --peers {name} measures it")
            each.check()
        except MixcodecError as error:
            missing[name] = str(error)
        else:
            found.append(each)
    return found, missing


def measure_startup(
    ours: list[Ours],
    peers: list[Measured],
    clips: dict[int, Path],
    settings: BenchSettings,
    folder: Path,
    tell: Callable[[str], None],
) -> list[Startup]:
    """Whole processes in turn. All that they read has been read before, by the workers or by a run that does not count."""
    tell("start-up")
    python = [sys.executable, "-c"]
    commands = {
        BASE_IMPORT: [*python, BASE_IMPORT],
        "python (pass)": [*python, "pass"],
        "import mixcodec": [*python, "import mixcodec"],
        "from mixcodec import load": [*python, "from mixcodec import load"],
    }
    for subject in ours:
        what = f"mixcodec encode of {settings.seconds:g} s, {subject.name}"
        commands[what] = subject.command("encode", clips[subject.sample_rate], folder / "cold.mxc")
    environ = environment(None)
    for command in commands.values():
        timed_process(command, environ)
    for imports in [each.imports for each in peers if each.imports][:1]:  # the others' import the same libraries
        commands[imports] = [*python, imports]

    def turn(command: list[str]) -> Callable[[], Sample]:
        return lambda: timed_process(command, environ)

    samples = interleave({what: turn(command) for what, command in commands.items()}, settings.repeats)
    return [Startup(what, found, what == BASE_IMPORT) for what, found in samples.items()]


def measure_memory(subject: Measured, settings: BenchSettings, folder: Path, tell: Callable[[str], None]) -> list[Memory]:
    """One fresh process for each direction and length; what a limit ended is not tried on a longer file."""
    found = []
    wave = clip(settings.audio, subject.sample_rate)
    limit = settings.limit_gb * 1000
    if available := available_megabytes():
        limit = min(limit, MEMORY_SHARE * available)
    failed: dict[str, str] = {}
    for seconds in sorted(settings.memory_seconds):
        source, coded, decoded = (folder / f"long{suffix}" for suffix in (".wav", ".coded", ".decoded.wav"))
        write_looped(source, wave, subject.sample_rate, seconds)
        for direction in subject.memory_directions:
            tell(f"memory: {subject.name}, {direction} of {seconds:g} s")
            if before := failed.get(direction) or failed.get("encode"):
                found.append(Memory(subject.name, direction, seconds, None, f"not run: {before} was too much"))
                continue
            files = (source, coded) if direction == "encode" else (coded, decoded)
            peak = peak_memory(subject.command(direction, *files), environment(1), limit, settings.limit_seconds)
            if peak.problem:
                failed[direction] = f"{seconds:g} s"
            megabytes = None if peak.problem else peak.megabytes
            found.append(Memory(subject.name, direction, seconds, megabytes, peak.problem, peak.wall))
    return found


def _about(settings: BenchSettings, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": versions(),
        "audio": SYNTHETIC if settings.audio is None else os.fspath(settings.audio),
        "settings": asdict(settings) | {"audio": None if settings.audio is None else os.fspath(settings.audio)},
        "load_before": load_average(),
    }
