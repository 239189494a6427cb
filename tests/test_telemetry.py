"""onnxruntime reports its usage unless it is told not to: it is told so before it is imported, in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mixcodec
from mixcodec.audio import write_audio
from mixcodec.evaluate.bench.process import environment

SOURCE = str(Path(mixcodec.__file__).parents[1])
VARIABLE = "ORT_DISABLE_TELEMETRY"
MAIN = "from mixcodec.cli.main import main; raise SystemExit(main())"


def closed(*words, **variables):
    """Run Python in a network of its own, with nothing in its environment."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network namespace cannot be made here")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["unshare", "-n", sys.executable, *map(str, words)], env=environ, capture_output=True, timeout=60, check=False
    )


@pytest.mark.needs("unshare")
def test_the_main_job_writes_nothing_elsewhere(tmp_path, tiny_model, grid_wave):
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    write_audio(tmp_path / "talk.wav", grid_wave(16000), 16000)
    for words in (["encode", tmp_path / "talk.wav"], ["decode", tmp_path / "talk.mxc"], ["roundtrip", tmp_path / "talk.wav"]):
        done = closed("-c", MAIN, *words, "--model", tiny_model, **places)
        assert (done.returncode, done.stderr) == (0, b"")
    assert [path for name in ("home", "temporary") for path in (tmp_path / name).rglob("*")] == []
    done = closed("-c", MAIN, "encode", tmp_path / "talk.wav", "--model", tiny_model, HOME="/proc")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0"), ("", ""), ("1", "1")])
def test_whoever_wants_it_has_it(given, then):
    code = f"import mixcodec, os; print(repr(os.environ[{VARIABLE!r}]), 'onnxruntime' in __import__('sys').modules)"
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environ |= {"PYTHONPATH": SOURCE} | ({} if given is None else {VARIABLE: given})
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [repr(then), "False"]


def test_it_is_off_here_and_in_what_is_started():
    assert VARIABLE in os.environ
    assert VARIABLE in environment(1)
    assert VARIABLE in environment(None)


@pytest.mark.parametrize("module", ["runtime.session", "evaluate.bench.worker", "judges.dnsmos", "nn.variants", "data.store"])
def test_no_module_comes_before_it(module):
    """onnxruntime looks once, when it is imported."""
    code = f"""
import os, sys
seen = []
class Look:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get({VARIABLE!r}))
sys.meta_path.insert(0, Look())
import mixcodec.{module}
import onnxruntime
print(seen)
"""
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1']"
