"""The machine that a run was made on, and who else was busy on it."""

from __future__ import annotations

import os
import platform
import resource
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("mixcodec", "numpy", "onnxruntime", "torch", "transformers")
BUSY = 0.3
"""Cores in use by others from which on a run is called disturbed."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and system."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": core_count(),
        "memory_gb": round(_kilobytes("MemTotal") * 1024 / 1e9, 1),
        "system": platform.platform(terse=True),
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that code, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Processes that ran or waited, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def available_megabytes() -> float:
    """Memory that could be had without swapping, 10^6 bytes; 0 where the system does not say."""
    return _kilobytes("MemAvailable") * 1024 / 1e6


class OthersWatch:
    """How many cores the rest of the machine kept busy since this was made (Linux: all of /proc/stat less what is ours)."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._before = _busy_seconds() - _own_seconds()

    def busy_cores(self) -> float | None:
        """Cores, on average; None where the system does not say. Children count as ours once they have ended."""
        if not _busy_seconds():
            return None
        others = _busy_seconds() - _own_seconds() - self._before
        return round(max(0.0, others / max(1e-9, time.monotonic() - self._begun)), 2)


def _own_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _busy_seconds() -> float:
    """CPU seconds of all processes since the machine started: user, nice, system, irq, softirq."""
    with suppress(OSError):
        user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _kilobytes(field: str) -> int:
    return int((_field("/proc/meminfo", field) or "0").split()[0])


def _field(path: str, name: str) -> str:
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
