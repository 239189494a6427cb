"""Whole processes: what they took of the clock, of the CPU and of memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mixcodec.errors import MixcodecError
from mixcodec.evaluate.bench.results import Sample

POLL_SECONDS = 0.003
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FAILED = "a measured process failed"


def environment(threads: int | None) -> dict[str, str]:
    """The caller's environment, with this many threads for all that asks; None: as many as each takes by itself.

    `mixcodec` itself sets one of the variables on its way to a command, so the caller's values are of no use.
    """
    values = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    return values if threads is None else values | dict.fromkeys(THREAD_VARIABLES, str(threads))


def timed_process(command: Sequence[str], environ: Mapping[str, str]) -> Sample:
    """Run a process to its end and say what it took.

    Raises:
        MixcodecError: it failed; with the last line that it wrote.
    """
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = _start(command, environ, said.fileno())
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _kill(process)
            raise
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        _check(command, process.returncode, said.fileno())
    return Sample(wall, usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True)
class Peak:
    """The peak of a process's physical memory, or the limit that ended it."""

    megabytes: float
    wall: float
    problem: str = ""


def peak_memory(command: Sequence[str], environ: Mapping[str, str], limit_megabytes: float, limit_seconds: float) -> Peak:
    """Run a process and watch its VmHWM (Linux), which the kernel keeps as the most it ever held.

    It is read every few milliseconds, so what is added in the very last of them is missed. The children's rusage would
    not do: its ru_maxrss begins with what the parent held when it started them.

    Raises:
        MixcodecError: it failed.
    """
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = _start(command, environ, said.fileno())
        status = Path(f"/proc/{process.pid}/status")
        peak = 0.0
        problem = ""
        try:
            while process.poll() is None:
                peak = max(peak, _high_water(status))
                if peak > limit_megabytes:
                    problem = f"over {limit_megabytes / 1000:.3g} GB"
                elif time.perf_counter() - begun > limit_seconds:
                    problem = f"over {limit_seconds:g} s, holding {peak:.0f} MB"
                if problem:
                    break
                time.sleep(POLL_SECONDS)
        finally:
            _kill(process)
        if not problem:
            _check(command, process.returncode, said.fileno())
        return Peak(peak, time.perf_counter() - begun, problem)


def last_line(said: int) -> str:
    """The last line of an open file that a process wrote to."""
    text = os.pread(said, 1 << 16, max(0, os.fstat(said).st_size - (1 << 16))).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _start(command: Sequence[str], environ: Mapping[str, str], said: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)


def _check(command: Sequence[str], returncode: int, said: int) -> None:
    if returncode:
        raise MixcodecError(f"{FAILED} with status {returncode} ({' '.join(command)[:200]}): {last_line(said)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        process.kill()
        process.wait()


def _high_water(status: Path) -> float:
    """VmHWM in 10^6 bytes; 0 where the process has just ended."""
    with suppress(OSError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
