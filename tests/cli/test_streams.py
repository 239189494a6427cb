"""Standard streams that are files, pipes, closed or full; signals; outputs that are inputs. As a shell starts the program."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

import mixcodec
from mixcodec.audio import read_audio, write_audio
from mixcodec.cli.main import main

SOURCE = str(Path(mixcodec.__file__).parents[1])


@pytest.fixture
def shell(tmp_path, tiny_model, grid_wave, monkeypatch):
    """A function that runs a line of bash ($M: the program; $m: its model) in a folder with talk.wav and talk.mxc."""
    monkeypatch.chdir(tmp_path)
    write_audio("talk.wav", grid_wave(3000), 16000)
    assert main(["encode", "talk.wav", "--model", str(tiny_model)]) == 0
    (tmp_path / "mixcodec").write_text(f"#!{sys.executable}\nfrom mixcodec.cli.main import main\nraise SystemExit(main())\n")
    os.chmod("mixcodec", 0o755)
    environ = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "M": "./mixcodec", "m": f"--model {tiny_model}"}

    def run(line, **variables):
        return subprocess.run(["bash", "-c", line], capture_output=True, env={**environ, **variables}, timeout=60, check=False)

    return run


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link.wav"])
def test_the_summary_goes_beside_what_is_written(shell, target):
    os.symlink("/dev/stdout", "link.wav")
    done = shell(f"$M encode talk.wav $m -o {target}")
    assert done.stdout == Path("talk.mxc").read_bytes()
    assert done.stderr.decode().startswith(f"{target}: 0.19 s, 6 codebooks, ")
    done = shell(f"$M decode talk.mxc $m --lossy -o {target}")
    assert done.stderr.decode().splitlines() == [f"{target}: 0.19 s, 1 channel, 16000 Hz", "lost: nothing"]
    Path("x.wav").write_bytes(done.stdout)
    assert read_audio("x.wav")[0].shape == (3000,)
    assert os.path.islink("link.wav")


def test_a_file_behind_standard_output_is_written_on(shell):
    done = shell("echo before >x; $M encode talk.wav $m -o /dev/stdout >>x")
    assert done.returncode == 0
    assert Path("x").read_bytes() == b"before\n" + Path("talk.mxc").read_bytes()


def test_substituted_processes(shell):
    done = shell("$M encode talk.wav $m -o >(cat >x); $M decode <(cat talk.mxc) $m -o >(cat >x.wav); sleep 0.3")
    assert done.stdout == b""
    assert done.stderr.count(b"/dev/fd/") == 2
    assert Path("x").read_bytes() == Path("talk.mxc").read_bytes()
    assert read_audio("x.wav")[0].shape == (3000,)


def test_closed_standard_streams(shell):
    cases = {
        "$M encode - $m -o x.mxc <&-": "standard input: is closed",
        "$M decode - $m -o x.wav <&-": "standard input: is closed",
        "$M info - <&-": "standard input: is closed",
        "$M encode talk.wav $m -o - >&-": "standard output: is closed",
        "$M encode talk.wav $m -o /dev/stdout >&-": "/dev/stdout: is closed",
    }
    for line, said in cases.items():
        done = shell(line)
        assert done.returncode == 2, line
        assert done.stderr.decode().startswith(f"mixcodec: {said}"), line
        assert done.stderr.count(b"\n") == 1
    for line in ("$M encode talk.wav $m -o x.mxc <&- >&- 2>&-", "$M encode talk.wav $m -o /dev/stdout <&- 2>&- >x.mxc"):
        assert (shell(line).returncode, Path("x.mxc").read_bytes()) == (0, Path("talk.mxc").read_bytes())
        os.remove("x.mxc")
    for line in ("$M --help >&-", "$M encode --help >&-", "$M info talk.mxc >&- 2>x"):
        done = shell(line)
        assert (done.returncode, done.stderr) == (0, b"")
    assert shell("$M encode nothing.wav 2>&-").returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output(shell, unbuffered):
    lines = [
        "encode talk.wav $m -o -",
        "encode talk.wav $m -o /dev/stdout",
        "encode talk.wav $m -o x.mxc",
        "info talk.mxc",
        "--help",
    ]
    for line in lines:
        done = shell(f"$M {line} >/dev/full", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 2, line
        assert done.stderr.count(b"\n") == 1
        assert b"cannot be written (no space left on device)" in done.stderr
    assert Path("x.mxc").read_bytes() == Path("talk.mxc").read_bytes()


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "XCPU", "USR1"])
def test_signals_leave_nothing(shell, tiny_model, name):
    slow = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom mixcodec.runtime import stream\n"
        "from mixcodec.cli.main import main\nstream.StreamEncoder.finish = lambda self: time.sleep(60)\nraise SystemExit(main())"
    )
    before = set(os.listdir())
    call = [sys.executable, "-c", slow, "encode", "talk.wav", "-o", "x.mxc", "--model", str(tiny_model)]
    child = subprocess.Popen(call, env={**os.environ, "PYTHONPATH": SOURCE}, stderr=subprocess.PIPE)
    wait_for_temporary(child)
    child.send_signal(getattr(signal, f"SIG{name}"))
    assert child.wait(60) == 128 + getattr(signal, f"SIG{name}")
    assert child.stderr.read() == (b"mixcodec: interrupted\n" if name == "INT" else b"")
    assert set(os.listdir()) == before


def wait_for_temporary(child):
    deadline = time.monotonic() + 30
    while not any(name.startswith(".mixcodec") for name in os.listdir()):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)


def test_what_nohup_ignores_is_ignored(shell):
    done = shell("trap '' HUP; $M encode talk.wav $m -o x.mxc & sleep 0.2; kill -HUP $!; wait $!")
    assert (done.returncode, Path("x.mxc").exists()) == (0, True)


def test_a_killed_run_is_tidied_up_by_the_next(shell, tiny_model):
    slow = (
        "import time\nfrom mixcodec.runtime import stream\nfrom mixcodec.cli.main import main\n"
        "stream.StreamEncoder.finish = lambda self: time.sleep(60)\nraise SystemExit(main())"
    )
    call = [sys.executable, "-c", slow, "encode", "talk.wav", "-o", "x.mxc", "--model", str(tiny_model)]
    child = subprocess.Popen(call, env={**os.environ, "PYTHONPATH": SOURCE})
    wait_for_temporary(child)
    assert shell("$M encode talk.wav $m -o y.mxc").returncode == 0
    assert [name for name in os.listdir() if name.startswith(".mixcodec")], "that run is alive"
    child.kill()
    child.wait()
    assert shell("$M encode talk.wav $m -o y.mxc").returncode == 0
    assert [name for name in os.listdir() if name.startswith(".mixcodec")] == []


def test_a_signal_does_not_wait_for_who_should_read(shell, tiny_model):
    """The pipe is full, and nobody takes anything out of it."""
    write_audio("long.wav", np.zeros(200_000, np.float32), 16000)
    assert main(["encode", "long.wav", "--model", str(tiny_model)]) == 0
    reader, writer = os.pipe()
    call = ["./mixcodec", "decode", "long.mxc", "-o", "-", "--model", str(tiny_model)]
    child = subprocess.Popen(call, stdout=writer, env={**os.environ, "PYTHONPATH": SOURCE})
    os.close(writer)
    deadline, waiting = time.monotonic() + 30, bytearray(4)
    while int.from_bytes(waiting, sys.byteorder) < 60_000 and time.monotonic() < deadline:
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM
    os.close(reader)


@pytest.fixture
def recording(tmp_path, tiny_model, grid_wave, monkeypatch, capsys):
    """A function that tells whether a command is refused and talk.wav is kept."""
    monkeypatch.chdir(tmp_path)
    write_audio("talk.wav", grid_wave(3000), 16000)
    before = Path("talk.wav").read_bytes()

    def refused(*words):
        listed = sorted(os.listdir())
        status = main([*words, "--model", str(tiny_model)] if words[0] in ("encode", "decode", "roundtrip") else list(words))
        said = capsys.readouterr()
        assert (status, said.out, said.err.count("\n")) == (2, "", 1), said
        assert ("itself" in said.err) or ("is in it" in said.err)
        assert Path("talk.wav").read_bytes() == before
        assert sorted(os.listdir()) == listed

    return refused


def link(kind, name, target="talk.wav"):
    (os.link if kind == "hard link" else os.symlink)(target, name)


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_an_output_that_is_the_input(recording, kind):
    link(kind, "also.wav")
    link(kind, "other.mxc")
    for target in ("talk.wav", "./talk.wav", "also.wav", "other.mxc"):
        recording("encode", "talk.wav", "-o", target)
    for target in ("talk.wav", "also.wav", "other.wav"):
        recording("roundtrip", "talk.wav", "-o", target)
    link(kind, "talk.roundtrip.mxc")
    recording("roundtrip", "talk.wav")
    link(kind, "own.wav", "talk.wav")
    link(kind, "own.mxc")
    recording("encode", "own.wav")
    recording("bench", "--audio", "talk.wav", "-o", "also.wav")
    recording("bench", "--audio", "also.wav", "--output", "talk.wav")


def test_a_roundtrip_whose_two_outputs_are_one(recording):
    Path("a.wav").touch()
    os.symlink("a.wav", "a.mxc")
    recording("roundtrip", "talk.wav", "-o", "a.wav")


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_an_evaluation_into_its_data(recording, kind):
    pytest.importorskip("pesq")
    for name in ("summary.md", "report.html", "results.parquet", "journal.jsonl"):
        os.mkdir("out")
        link(kind, f"out/{name}", os.path.abspath("talk.wav"))
        recording("eval", "--codecs", "identity", "--data", ".", "--out", "out", "--metrics", "mel", "--no-gates", "--jobs", "1")
        os.remove(f"out/{name}")
        os.rmdir("out")


def test_a_roundtrip_that_fails_keeps_what_was_there(recording, tiny_model, monkeypatch):
    assert main(["roundtrip", "talk.wav", "--model", str(tiny_model)]) == 0
    before = {name: Path(name).read_bytes() for name in ("talk.roundtrip.mxc", "talk.roundtrip.wav")}

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixcodec.runtime.stream.StreamDecoder.finish", interrupt)
    assert main(["roundtrip", "talk.wav", "--model", str(tiny_model), "--quality", "1"]) == 130
    assert {name: Path(name).read_bytes() for name in before} == before
    assert sorted(os.listdir()) == sorted(["talk.wav", *before])


@pytest.mark.parametrize("line", [
    ["encode", "talk.wav", "-o", ""], ["encode", "talk.wav", "--output="], ["encode", ""], ["decode", "talk.mxc", "-o", ""],
    ["roundtrip", "talk.wav", "--output", ""], ["bench", "-o", ""], ["bench", "--out="], ["info", ""],
    ["eval", "--codecs", "identity", "--data", ".", "--out", ""], ["export", "x.safetensors", ""], ["variant", "m", "int8", ""],
    ["compare", "mixers", "--out", ""], ["train", ""],
], ids=" ".join)  # fmt: skip
def test_an_empty_name_is_a_mistake(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the empty string" in said
    assert os.listdir() == []


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/null", "/dev/fd/1"])
def test_a_roundtrip_works_on_files(recording, tiny_model, capsys, target):
    assert main(["roundtrip", "talk.wav", "-o", target, "--model", str(tiny_model)]) == 2
    assert "roundtrip works on files" in capsys.readouterr().err
    assert not os.path.exists("/dev/null.mxc")


def test_what_is_missing_is_said_once(recording, tiny_model, capsys):
    data = Path("talk.wav").read_bytes()
    Path("cut.wav").write_bytes(data[:-2000])
    Path("two.wav").write_bytes(data + data)
    expected = "mixcodec: cut.wav: declares 3000 samples, but holds 2000: 0.06 s are missing at the end\n"
    for command in ("encode", "roundtrip"):
        assert main([command, "cut.wav", "--model", str(tiny_model)]) == 0
        assert capsys.readouterr().err == expected
        assert main([command, "two.wav", "--model", str(tiny_model)]) == 0
        said = capsys.readouterr()
        assert ("0.38 s" in said.out, said.err) == (True, "")


def test_an_evaluation_that_is_ended_leaves_no_temporary_folder(tmp_path, speech_folder):
    pytest.importorskip("pesq")
    os.mkdir(tmp_path / "temporary")
    slow = "import time\nfrom mixcodec.evaluate.baselines.anchors import Identity\nIdentity.encode = lambda *_: time.sleep(60)\n"
    (tmp_path / "slow.py").write_text(slow)
    code = "import slow\nfrom mixcodec.cli.main import main\nraise SystemExit(main())"
    words = [
        "eval",
        "--codecs",
        "identity",
        "--data",
        str(speech_folder),
        "--out",
        "out",
        "--metrics",
        "mel",
        "--no-gates",
        "--jobs",
        "1",
    ]
    environ = {**os.environ, "PYTHONPATH": f"{SOURCE}:{tmp_path}", "TMPDIR": str(tmp_path / "temporary")}
    child = subprocess.Popen([sys.executable, "-c", code, *words], env=environ, cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "temporary").glob(".mixcodec-*/source.wav")):
        assert time.monotonic() < deadline
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "temporary") == []


@pytest.fixture
def speech_folder(tmp_path, grid_wave):
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(3):
        write_audio(folder / f"{number}.wav", grid_wave(16000, number) / 4, 16000)
    return folder
