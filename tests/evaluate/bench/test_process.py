"""What a process took: against processes that are known to take so much."""

import os
import sys

import pytest

from mixcodec.errors import MixcodecError
from mixcodec.evaluate.bench.process import environment, peak_memory, timed_process

PYTHON = [sys.executable, "-c"]
HELD = "import time; block = bytearray({bytes}); block[::4096] = b'x' * len(block[::4096]); {after}"


def megabytes(code):
    return peak_memory([*PYTHON, code], os.environ, 1000, 60).megabytes


def test_a_known_allocation_is_seen():
    """200 MB more than the same process with nothing, though it is freed, and though this process is larger itself."""
    ballast = bytearray(400_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    plain = megabytes(HELD.format(bytes=0, after="time.sleep(0.05)"))
    held = megabytes(HELD.format(bytes=200_000_000, after="del block; time.sleep(0.05)"))
    assert plain < 50
    assert held - plain == pytest.approx(200, rel=0.1)
    assert len(ballast)


def test_a_process_over_the_limit_of_memory_is_ended():
    peak = peak_memory([*PYTHON, HELD.format(bytes=200_000_000, after="time.sleep(60)")], os.environ, 100, 30)
    assert peak.problem == "over 0.1 GB"
    assert 100 < peak.megabytes < 250


def test_a_process_over_the_limit_of_time_is_ended():
    peak = peak_memory([*PYTHON, "import time; time.sleep(60)"], os.environ, 1000, 0.2)
    assert peak.problem == f"over 0.2 s, holding {peak.megabytes:.0f} MB"


def test_cpu_time_and_wall_time_are_told_apart():
    slept = timed_process([*PYTHON, "import time; time.sleep(0.5)"], os.environ)
    assert slept.wall >= 0.5
    assert slept.cpu < 0.4
    spun = timed_process([*PYTHON, "import time\nwhile time.process_time() < 0.5: pass"], os.environ)
    assert spun.cpu >= 0.5


@pytest.mark.parametrize("measure", [timed_process, lambda *call: peak_memory(*call, 1000, 60)])
def test_a_failure_is_told_with_its_last_line(measure):
    with pytest.raises(MixcodecError, match=r"failed with status 3 .*: out of cheese$"):
        measure([*PYTHON, "import sys; print('out of cheese', file=sys.stderr); sys.exit(3)"], os.environ)


def test_threads_are_what_was_asked_and_not_what_the_command_line_left(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    assert environment(2)["OPENBLAS_NUM_THREADS"] == environment(2)["OMP_NUM_THREADS"] == "2"
    assert "OPENBLAS_NUM_THREADS" not in environment(None)
    assert environment(None)["PATH"] == os.environ["PATH"]
