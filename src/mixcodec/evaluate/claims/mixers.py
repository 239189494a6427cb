"""What token mixers are said to cost, measured: how that grows with the length, and the recurrences beside a convolution.

python -m mixcodec.evaluate.claims.mixers growth
python -m mixcodec.evaluate.claims.mixers scans

each print one table as Markdown and what it says; `all` prints both. Weights and inputs are random: cost doesn't depend on
them. One thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import tyro

from mixcodec.errors import ConfigError
from mixcodec.evaluate.claims.claim import Claim, command
from mixcodec.nn.mixers import MIXERS, Mixer, cost
from mixcodec.nn.mixers.scan import matrix_scan, scan
from mixcodec.nn.mixers.ssm import BLOCK, step_bias

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
EXPONENTS = {"linear": (0.9, 1.03), "n log n": (1.04, 1.2), "quadratic": (1.5, 2.1)}
"""Between which exponents the arithmetic of each growth lies.

n log n by itself has 1.13 over LENGTHS, less beside work that is linear; and a square may begin small.
"""

SLOWER = 0.3
"""How much higher the exponent of the time may be: numbers that no longer fit into a cache take longer, each of them."""


class Form(NamedTuple):
    """A kind in its causal or centred form on a line."""

    kind: str
    causal: bool

    def build(self, channels: int, tokens: int) -> Mixer:
        """The mixer; one that is made for a number of tokens is made for `tokens`."""
        options: dict[str, Any] = {"kind": self.kind}
        if "causal" in MIXERS.options(self.kind):
            options["causal"] = self.causal
        if not self.causal and self.kind in SIZED:
            options["size"] = tokens
        torch.manual_seed(0)
        return MIXERS.build(options, channels=channels).eval()


SIZED = ("mixer_mlp", "nin_gating", "random")
"""Kinds whose centred form takes just the number of tokens that it was made for."""


def forms(kinds: Sequence[str] | None = None) -> list[Form]:
    """Every form of every kind (or of `kinds`) that serves a line."""
    found = []
    for kind in kinds or MIXERS.kinds():
        for causal in (True, False):
            try:
                mixer = Form(kind, causal).build(32, 64)
            except ConfigError:
                continue
            if mixer.causal == causal and 1 in mixer.grid_ranks:
                found.append(Form(kind, causal))
    return found


# Time ----------------------------------------------------------------------------------------------------------------


def keep_memory() -> None:
    """Lets freed memory be used again instead of being asked of the system anew, page by page, where that can be set (glibc).

    Else large tensors cost more than small ones, number for number, whatever is computed.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(ctypes.c_int(-3), ctypes.c_int(1 << 25))  # M_MMAP_THRESHOLD
        library.mallopt(ctypes.c_int(-1), ctypes.c_int((1 << 31) - 1))  # M_TRIM_THRESHOLD


def seconds(run: Callable[[], Any], least: float = 0.05, runs: int = 3) -> float:
    """The shortest, in the processor's time, of `runs` or more runs that take `least` seconds together.

    What other programs do meanwhile is not counted. A run that takes a fifth of a second is not repeated.
    """
    taken: list[float] = []
    with torch.no_grad():
        run()
        while len(taken) < runs or sum(taken) < least:
            begin = time.process_time()
            run()
            taken.append(time.process_time() - begin)
            if taken[0] > 0.2:
                break
    return min(taken)


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> float:
    """p of the closest a + b * n^p with a, b >= 0: what doesn't grow, as calling the operators, is not taken for slow growth."""
    n, cost = np.array(lengths, float), np.maximum(np.array(costs, float), 1e-9)
    best = (np.inf, 0.0)
    for p in np.arange(0.3, 3, 0.01):
        columns = np.stack([np.ones_like(n), (n / n[-1]) ** p], 1) / cost[:, None]  # each length's error counts relatively
        for kept in ([0, 1], [1]):
            factors = np.linalg.lstsq(columns[:, kept], np.ones_like(n), rcond=None)[0]
            if (factors >= 0).all():
                error = float(np.square(columns[:, kept] @ factors - 1).sum())
                best = min(best, (error, float(p)))
    return best[1]


# Claims --------------------------------------------------------------------------------------------------------------


def growth(channels: int = 32, lengths: Sequence[int] = LENGTHS, kinds: Sequence[str] | None = None, most: float = 20.0) -> Claim:
    """Cost against length, of every form of every kind, beside what the kind declares.

    A form stops before a length at which it would take more than `most` seconds. Operations and state are as
    `mixcodec.nn.mixers.cost` counts them.
    """
    rows: list[list[str | float]] = []
    numbers: dict[str, float] = {}
    wrong: list[str] = []
    short: list[str] = []
    slower: list[str] = []
    for form in forms(kinds):
        times: list[float] = []
        works: list[float] = []
        declared = form.build(channels, lengths[0]).growth
        for n in lengths:
            if times and times[-1] * (n / lengths[len(times) - 1]) ** (2 if declared == "quadratic" else 1) > most:
                break
            mixer, x = form.build(channels, n), torch.randn(1, n, channels)
            times.append(seconds(lambda mixer=mixer, x=x: mixer(x)))  # type: ignore[misc]
            spent = cost(mixer, channels, (n,))
            works.append(spent.operations * n)
        measured = lengths[: len(times)]
        p, q = exponent(measured, times), exponent(measured, works)
        name = f"{form.kind} {'causal' if form.causal else 'centred'}"
        numbers[name] = q
        low, high = EXPONENTS[declared]
        if len(measured) < len(lengths):
            short.append(f"{name} ({measured[-1]:,})")
        if works[-1] and not low <= q <= high:
            wrong.append(f"{name} ({q:.2f})")
        if works[-1] and p > high + SLOWER:
            slower.append(f"{name} ({p:.2f})")
        shown = [f"{q:.2f}" if works[-1] else "none", f"{p:.2f}", f"{measured[-1]:,}"]
        rows.append([form.kind, "causal" if form.causal else "centred", declared, *shown])
        rows[-1] += [f"{works[0] / lengths[0]:,.0f}", f"{spent.state:,}" if form.causal else "–", 1e3 * times[0], 1e3 * times[-1]]
    verdict = f"The arithmetic of {len(rows) - len(wrong)} of {len(rows)} forms grows as their kind declares."
    if wrong:
        verdict += f" It does not of {', '.join(wrong)}."
    if slower:
        verdict += f" Time grows faster than that, by more than {SLOWER} in the exponent, of {', '.join(slower)}."
    else:
        verdict += f" Time grows at most {SLOWER} in the exponent faster."
    if short:
        verdict += f" Before {lengths[-1]:,} tokens stop those that would take more than {most:g} s: {', '.join(short)}."
    columns = [
        "kind",
        "form",
        "declared",
        "exponent, arithmetic",
        "exponent, time",
        "up to tokens",
        f"operations a token at {lengths[0]}",
        "numbers of state",
        f"ms at {lengths[0]}",
        "ms at the end",
    ]
    return Claim(f"How cost grows with the number of tokens ({channels} channels)", columns, rows, verdict, numbers)


def scans(channels: int = 256, length: int = 2048, kernel: int = 7, rounds: int = 7) -> Claim:
    """GLA, SSD, SSM and retention beside causal convolutions of the same channels, in turns."""
    torch.manual_seed(0)
    x = torch.randn(1, length, channels)
    dense = torch.nn.Conv1d(channels, channels, kernel)
    runs: dict[str, Callable[[], Any]] = {
        f"plain causal convolution, {kernel} taps": lambda: dense(torch.nn.functional.pad(x.mT, [kernel - 1, 0])).mT,
        f"depthwise causal convolution, {kernel} taps": _forward({"kind": "convolution", "kernel": kernel}, x),
    }
    q, k, v = (torch.randn(1, length, 4, channels // 4) for _ in range(3))
    heads, rows = -torch.rand(1, length, 4, 1), -torch.rand(1, length, 4, channels // 8)
    one = torch.zeros(1, 4, channels // 4, channels // 4)
    half = torch.zeros(1, 4, channels // 8, channels // 4)
    wide = torch.randn(1, length, 4, channels // 2)
    query, key = torch.randn(2, 1, length, 4, 16)
    states = torch.zeros(1, 4, 16, channels // 2)
    pace = torch.nn.functional.softplus(step_bias(2 * channels))[None, None, :, None].expand(1, length, -1, 1)
    rate = -torch.arange(1.0, 17)
    enter = torch.randn(1, length, 2 * channels, 16)
    runs |= {
        "scan of retention": lambda: matrix_scan(q, k, v, heads, one),
        "scan of gla": lambda: matrix_scan(q[..., : channels // 8], k[..., : channels // 8], v, rows, half),
        "scan of ssd": lambda: matrix_scan(query, key, wide, heads, states),
        "scan of ssm": _read_in_blocks(pace * rate, enter),
    }
    for kind in ("retention", "gla", "ssd", "ssm"):
        runs[f"mixer {kind}"] = _forward(kind, x)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(seconds(run, 0, 1))
    times = {name: min(values) for name, values in taken.items()}
    plain, deep = list(times.values())[:2]
    table: list[list[str | float]] = [[name, 1e3 * t, t / plain, t / deep] for name, t in times.items()]
    slow = [f"{name} ({t / plain:.1f})" for name, t in times.items() if t > 3 * plain]
    verdict = "Every scan, and every whole mixer, takes at most three times as long as a plain causal convolution."
    if slow:
        verdict = f"More than three times as long as a plain causal convolution: {', '.join(slow)}; all others take less."
    title = f"Recurrences beside a causal convolution ({length:,} tokens of {channels} channels, one thread, best of {rounds})"
    columns = ["what", "ms", "times the plain one", "times the depthwise one"]
    return Claim(title, columns, table, verdict, {name: t / plain for name, t in times.items()})


def _read_in_blocks(log_decay: torch.Tensor, value: torch.Tensor) -> Callable[[], Any]:
    """A scan whose states (B, T, hidden, states) are read block by block, as `ssm` does."""
    read = torch.randn(*value.shape[:2], value.shape[3], 1)

    def run() -> None:
        memory = torch.zeros_like(value[:, 0])
        for decay, v, c in zip(*(torch.split(part, BLOCK, 1) for part in (log_decay, value, read)), strict=True):
            states, memory = scan(decay, v, memory)
            states @ c

    return run


def _forward(config: Mapping[str, Any] | str, x: torch.Tensor) -> Callable[[], Any]:
    mixer = MIXERS.build(config, channels=x.shape[-1]).eval()
    return lambda: mixer(x)


CLAIMS: dict[str, Callable[[], Claim]] = {"growth": growth, "scans": scans}


@dataclass(frozen=True)
class Arguments:
    """Measures what token mixers cost and prints it as Markdown."""

    claim: Annotated[Literal["growth", "scans", "all"], tyro.conf.Positional] = "all"
    """Which claim."""


def run(arguments: Arguments) -> None:
    """Prints one table or all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_memory()
    try:
        for name, claim in CLAIMS.items():
            if arguments.claim in (name, "all"):
                print(claim(), flush=True)
    finally:
        torch.set_num_threads(threads)


def main() -> int:
    """Runs the command line."""
    return command(run, Arguments)


if __name__ == "__main__":
    sys.exit(main())
