"""A process of its own for one codec: its threads, its memory and its libraries are nobody else's.

    python -m mixcodec.evaluate.bench.worker '{"measured": ["mixcodec", "speech-16k"], "clip": "clip.wav", "threads": 1}'

One JSON object a line: it says {"ready": true, "title": ...} or {"error": ...}, and then answers each line
"encode", "decode" (one run: {"wall": s, "cpu": s}) or "flops" ({direction: [operations, uncounted]}) until its input ends.
With "only": "encode" it does that once and ends, which is what its peak of memory is measured on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from mixcodec.errors import MixcodecError
from mixcodec.evaluate.bench.results import DIRECTIONS
from mixcodec.evaluate.bench.subjects import Runner, from_json


def main(argument: str) -> int:
    """Do the task that the JSON describes; return the exit status."""
    task = json.loads(argument)
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)  # what a library or a program prints must not get among the answers
        try:
            measured = from_json(task["measured"])
            if only := task.get("only"):
                code_once(measured.load(Path(task["clip"]), task["threads"]), only)
                return 0
            runner = measured.load(Path(task["clip"]), task["threads"])
        except MixcodecError as error:
            print(json.dumps({"error": str(error)}), file=answers)
            return 2
        print(json.dumps({"ready": True, "title": measured.title}), file=answers)
        serve(runner, sys.stdin, answers)
    return 0


def code_once(runner: Runner, direction: str) -> None:
    """Encoding has been done while loading; to decode is one call more."""
    if direction == "decode":
        runner.decode()


def serve(runner: Runner, questions: TextIO, answers: TextIO) -> None:
    """Answer every line of `questions`."""
    calls = {"encode": runner.encode, "decode": runner.decode}
    for line in questions:
        asked = line.strip()
        answer = timed(calls[asked]) if asked in calls else count_flops(runner)
        print(json.dumps(answer), file=answers)


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Seconds of the clock and of CPU time (of this process and of the children that ended) that one call takes."""
    wall, cpu, children = time.perf_counter(), time.process_time(), children_seconds()
    call()
    cpu = time.process_time() - cpu + children_seconds() - children
    return {"wall": time.perf_counter() - wall, "cpu": cpu}


def count_flops(runner: Runner) -> dict[str, Any]:
    """Operations by direction; nothing where they cannot be known."""
    return {direction: runner.flops(direction) for direction in DIRECTIONS} if runner.flops else {}


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
