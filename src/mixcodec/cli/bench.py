"""mixcodec bench: what the codecs cost, side by side."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mixcodec.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from mixcodec.evaluate.bench import BenchSettings

QUICK_REPEATS, REPEATS = 3, 5
QUICK_MEMORY, MEMORY = (10.0, 60.0), (60.0, 600.0)


def bench(
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    variant: tuple[str, ...] = (),
    peers: tuple[str, ...] | None = None,
    threads: tuple[int, ...] = (1, 2),
    seconds: float = 10.0,
    repeats: int | None = None,
    memory_seconds: tuple[float, ...] | None = None,
    limit_gb: float = 8.0,
    limit_seconds: float = 60.0,
    audio: Path | None = None,
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["--out"])] = None,
) -> None:
    """Measure start-up, speed, memory and arithmetic of models and of peers in one run, and print them side by side.

    The neural peers are built with random weights, which cost the same as trained ones. Speeds are medians of runs in
    turn; where other processes are busy, trust the columns of CPU time.

    Args:
        models: Shipped models or model folders; the others are compared with the first.
        variant: Variants to measure of each of the models too, such as int8. Of one model alone: --models speech-16k:int8.
        peers: Of encodec, dac (16 kHz), dac-24k, dac-44k, mimi, opus; none for no peers. By default encodec, dac, mimi
            and opus, as far as they are installed.
        threads: Numbers of threads, each measured in processes of its own.
        seconds: Length of the clip on which speed is measured.
        repeats: Runs of each, by default 5, with --quick 3; slow codecs make 3.
        memory_seconds: Lengths of the files on which memory is measured, by default 60 and 600, with --quick 10 and 60.
        limit_gb: Memory at which a measurement of memory is given up.
        limit_seconds: Seconds after which it is.
        audio: Sound to use, repeated as often as it takes; by default a synthetic voice.
        quick: Fewer repeats, shorter files, and no neural peers but those of --peers.
        output: JSON file for everything, raw samples included, also --out or -o.
    """
    from mixcodec.evaluate.bench import BenchSettings, report, run_bench
    from mixcodec.files import atomic_output, check_distinct
    from mixcodec.models import check_variant

    settings = BenchSettings(
        models=(*models, *(f"{model}:{each}" for model in models for each in map(check_variant, variant))),
        peers=() if peers == ("none",) else peers,
        threads=threads,
        seconds=seconds,
        repeats=repeats if repeats is not None else QUICK_REPEATS if quick else REPEATS,
        memory_seconds=memory_seconds if memory_seconds is not None else QUICK_MEMORY if quick else MEMORY,
        limit_gb=limit_gb,
        limit_seconds=limit_seconds,
        audio=audio,
        quick=quick,
    )
    if output is not None:
        check_distinct(output, audio)
    with _status_line() as tell, ExitStack() as stack:
        file = None if output is None else stack.enter_context(atomic_output(output))  # a bad name is told at once
        results = run_bench(settings, _command(settings), tell)
        if file is not None:
            file.write(json.dumps(results.to_json(), indent=1, ensure_ascii=False).encode() + b"\n")
    print(report(results))


def _command(settings: BenchSettings) -> str:
    """The command line that measures the same, with all that the defaults stood for."""
    words: list[object] = ["mixcodec", "bench", "--models", *settings.models]
    words += [] if settings.peers is None else ["--peers", *(settings.peers or ("none",))]
    words += ["--threads", *settings.threads, "--seconds", settings.seconds, "--repeats", settings.repeats]
    words += ["--memory-seconds", *settings.memory_seconds]
    words += ["--limit-gb", settings.limit_gb, "--limit-seconds", settings.limit_seconds]
    words += [] if settings.audio is None else ["--audio", settings.audio]
    words += ["--quick"] * settings.quick
    return shlex.join(f"{word:g}" if isinstance(word, float) else str(word) for word in words)


@contextmanager
def _status_line() -> Iterator[Callable[[str], None]]:
    """What is being done, on a line that vanishes; nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield lambda doing: print(f"\r\x1b[K{doing}", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
