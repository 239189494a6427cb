"""Warm speed: one worker a codec, all of them waiting, asked in turn."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mixcodec.errors import MixcodecError
from mixcodec.evaluate.bench.process import FAILED, environment, last_line
from mixcodec.evaluate.bench.results import DIRECTIONS, Flops, Sample, Speed
from mixcodec.evaluate.bench.subjects import Measured, to_json, worker_command

Key = TypeVar("Key", bound=Hashable)

ENOUGH = 3
"""Runs after which what is slow may leave."""
PATIENCE = 12.0
"""Seconds of the clock after which it does: a slow codec's runs are long enough not to need many."""


def interleave(turns: Mapping[Key, Callable[[], Sample]], repeats: int, patience: float = PATIENCE) -> dict[Key, list[Sample]]:
    """Run A, B, C, A, B, C, ... so that what disturbs the machine for a while hits all of them alike.

    Each is run `repeats` times, or at least ENOUGH times where its runs together took more than `patience` seconds.
    """
    samples: dict[Key, list[Sample]] = {key: [] for key in turns}
    for _ in range(repeats):
        for key, turn in turns.items():
            done = samples[key]
            if len(done) < ENOUGH or sum(sample.wall for sample in done) <= patience:
                done.append(turn())
    return samples


class Worker:
    """A running worker; use it in a `with`. It begins to load at once; `wait` waits until it is ready."""

    def __init__(self, measured: Measured, clip: Path, threads: int) -> None:
        self.measured = measured
        command = worker_command({"measured": to_json(measured), "clip": str(clip), "threads": threads})
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            command,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said.fileno(),
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._said.close()

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            MixcodecError: the codec cannot be loaded.
        """
        self.measured.title = self._answer()["title"]

    def ask(self, what: str) -> dict[str, Any]:
        """One line there, one line back."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        return self._answer()

    def run(self, direction: str) -> Sample:
        """Encode or decode the clip once."""
        return Sample(**self.ask(direction))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()  # only then has it said why
            raise MixcodecError(f"{FAILED} with status {status} ({self.measured.name}): {last_line(self._said.fileno())}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MixcodecError(answer["error"])
        return answer


def measure_speed(
    subjects: list[Measured],
    clips: Mapping[int, Path],
    seconds: float,
    threads: int,
    repeats: int,
    count: bool,
    tell: Callable[[str], None],
) -> tuple[list[Speed], list[Flops]]:
    """All codecs on one clip of `seconds`, in turn.

    Args:
        clips: the wav for each sample rate.
        count: also count the operations.
        tell: is told what is being done.
    """
    flops = []
    with ExitStack() as stack:
        tell(f"{threads} thread{'s' * (threads > 1)}: loading")
        workers = [stack.enter_context(Worker(subject, clips[subject.sample_rate], threads)) for subject in subjects]
        for worker in workers:
            worker.wait()
        for worker in workers:
            tell(f"{threads} thread{'s' * (threads > 1)}: warming {worker.measured.name} up")
            for direction, (total, uncounted) in (worker.ask("flops") if count else {}).items():
                flops.append(Flops(worker.measured.name, direction, total / seconds, uncounted))
            worker.run("decode")  # it has encoded while loading
        tell(f"{threads} thread{'s' * (threads > 1)}: measuring")

        def turn(worker: Worker, direction: str) -> Callable[[], Sample]:
            return lambda: worker.run(direction)

        turns = {(worker.measured.name, way): turn(worker, way) for way in DIRECTIONS for worker in workers}
        samples = interleave(turns, repeats)
    return [Speed(name, threads, way, seconds, found) for (name, way), found in samples.items()], flops
