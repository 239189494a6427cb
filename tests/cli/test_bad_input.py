"""A user's mistake: one line that says what and what to do, exit status 2, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mixcodec
from mixcodec.audio import write_audio
from mixcodec.cli.main import main


@pytest.fixture
def folder(tmp_path, tiny_model, make_model, grid_wave, monkeypatch, capsys):
    """A folder full of bad files, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_audio("talk.wav", grid_wave(3000), 16000)
    assert main(["encode", "talk.wav", "-o", "good.mxc", "--model", str(tiny_model)]) == 0
    good = (tmp_path / "good.mxc").read_bytes()
    (tmp_path / "cut.mxc").write_bytes(good[:-7])
    (tmp_path / "flipped.mxc").write_bytes(good[:60] + bytes([good[60] ^ 4]) + good[61:])
    (tmp_path / "newer.mxc").write_bytes(good[:3] + b"\x07" + good[4:])
    (tmp_path / "long.mxc").write_bytes(good + b"x")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "empty.mxc").write_bytes(b"")
    (tmp_path / "text.txt").write_text("hello there\n" * 20)
    (tmp_path / "folder").mkdir()
    soundfile.write("nan.wav", np.float32([0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write("inf.wav", np.float32([0, -np.inf]), 16000, subtype="FLOAT")
    make_model(tmp_path / "tiny")
    make_model(tmp_path / "other", fingerprint="f" * 32)
    capsys.readouterr()
    return tmp_path


CASES = {
    "encode missing.wav --model tiny": "missing.wav: no such file",
    "encode folder --model tiny": "folder: is a directory",
    "encode empty.wav --model tiny": "empty.wav: is empty",
    "encode text.txt --model tiny": "text.txt: is not audio",
    "encode nan.wav --model tiny": "nan.wav: sample 1 is NaN or infinite",
    "encode inf.wav --model tiny": "inf.wav: sample 1 is NaN or infinite",
    "encode talk.wav --model tinny": "unknown model 'tinny'",
    "encode talk.wav --model folder": "folder: is not a model folder",
    "encode talk.wav --model tiny --kbps 0.4": "talk.wav: 0.4 kbps is out of range; tiny can do 0.5 to 4 kbps for mono",
    "encode talk.wav --model tiny --kbps 4.1": "4.1 kbps is out of range",
    "encode talk.wav --model tiny --kbps nan": "nan kbps is out of range",
    "encode talk.wav --model tiny --kbps lots": "--kbps",
    "encode talk.wav --model tiny --kbs 3": "perhaps you meant --kbps",
    "encode talk.wav --model tiny -o folder": "folder: is a directory",
    "encode talk.wav --model tiny -o nowhere/x.mxc": "nowhere/x.mxc: the folder nowhere does not exist",
    "encode talk.wav --model tiny -o talk.wav": "is the input itself",
    "encode talk.wav --model tiny -o text.txt/x": "cannot be written (not a directory)",
    "encode": "Missing",
    "decode missing.mxc --model tiny": "missing.mxc: no such file",
    "decode folder --model tiny": "folder: is a directory",
    "decode empty.mxc --model tiny": "empty.mxc: is empty",
    "decode talk.wav -o x.wav --model tiny": "talk.wav: is not a .mxc file",
    "decode cut.mxc --model tiny": "cut.mxc: is cut short",
    "decode flipped.mxc --model tiny": "flipped.mxc: is damaged",
    "decode newer.mxc --model tiny": "newer.mxc: was made by a newer mixcodec",
    "decode long.mxc --model tiny": "long.mxc: is cut short, damaged at its end, or has bytes to spare",
    "decode good.mxc": "was made by model tiny, which is not shipped; give its folder with --model",
    "decode good.mxc --model other": "not by tiny ffffffff",
    "decode text.txt --model tiny --lossy": "text.txt: is not a .mxc file",
    "encode talk.wav --model tiny --kbps 2 --codebooks 3": "a bitrate and a number of codebooks exclude each other",
    "encode talk.wav --model tiny --codebooks 9": "9 codebooks cannot be had; tiny has 1 to 8",
    "encode talk.wav --model tiny --codebooks 0": "0 codebooks cannot be had; tiny has 1 to 8",
    "encode talk.wav --model tiny --packet-seconds 0": "packets of 0 s cannot be had",
    "encode talk.wav --model tiny --metadata title": "give KEY=VALUE",
    "encode talk.wav --model tiny --metadata a=1 a=2": "each key once",
    "decode good.mxc --model tiny -o x.flac": "only wav can be written",
    "decode good.mxc --model tiny -o nowhere/x.wav": "the folder nowhere does not exist",
    "info flipped.mxc": "flipped.mxc: is damaged",
    "info missing.mxc": "missing.mxc: no such file",
    "info nothing": "unknown model 'nothing'",
    "info folder": "is not a model folder",
    "roundtrip - --model tiny": "roundtrip works on files",
    "roundtrip nan.wav --model tiny": "nan.wav: sample 1",
    "encod talk.wav": "unknown command 'encod'; did you mean encode?",
    "xyzzy": "the commands are encode, decode",
}


@pytest.mark.parametrize("line", CASES)
def test_one_line_exit_2_nothing_written(folder, capsys, line):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("mixcodec: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert CASES[line] in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_name_with_a_newline_stays_one_line(folder, capsys):
    assert main(["encode", "a\nb.wav", "--model", "tiny"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_unwritable_and_unreadable(folder, capsys):
    if os.getuid() == 0:
        pytest.skip("root may do anything")
    os.chmod("folder", 0o500)
    assert main(["encode", "talk.wav", "-o", "folder/x.mxc", "--model", "tiny"]) == 2
    assert "folder/x.mxc: cannot be written (permission denied)" in capsys.readouterr().err
    os.chmod("talk.wav", 0)
    assert main(["encode", "talk.wav", "--model", "tiny"]) == 2
    assert "talk.wav: cannot be read (permission denied)" in capsys.readouterr().err


def test_a_full_disk(folder, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    assert main(["encode", "talk.wav", "-o", "/dev/full", "--model", "tiny"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "/dev/full: cannot be written (no space left" in said


def test_a_bug_is_a_traceback(folder, monkeypatch):
    monkeypatch.setattr("mixcodec.runtime.files.AudioReader", None)
    with pytest.raises(TypeError):
        main(["encode", "talk.wav", "--model", "tiny"])


def test_ctrl_c_leaves_nothing(folder, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixcodec.runtime.stream.StreamEncoder.finish", interrupt)
    assert main(["encode", "talk.wav", "--model", "tiny"]) == 130
    assert capsys.readouterr().err == "mixcodec: interrupted\n"
    assert not [entry for entry in os.listdir(folder) if "tmp" in entry or entry == "talk.mxc"]


def test_sigterm_leaves_nothing(folder):
    slow = (
        "import time\nfrom mixcodec.runtime import stream\nfrom mixcodec.cli.main import main\n"
        "stream.StreamEncoder.finish = lambda self: time.sleep(60)\nraise SystemExit(main())"
    )
    call = [sys.executable, "-c", slow, "encode", "talk.wav", "--model", "tiny"]
    source = str(Path(mixcodec.__file__).parents[1])
    child = subprocess.Popen(call, cwd=folder, env={**os.environ, "PYTHONPATH": source})
    deadline = time.monotonic() + 30
    while not any(name.startswith(".mixcodec") for name in os.listdir(folder)):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 128 + signal.SIGTERM
    assert not any(name.startswith(".mixcodec") or name == "talk.mxc" for name in os.listdir(folder))
