"""mixcodec eval as a user runs it, and the user's mistakes."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from mixcodec.cli.main import main
from mixcodec.evaluate.results import read_results

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", [])


def run(capsys, *words):
    sys.argv = ["mixcodec", "eval", *map(str, words)]  # the report quotes the command that made it
    status = main()
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_run_writes_its_three_files_and_repeats_to_the_last_digit(tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("directory.flac", "queue.flac"):
        shutil.copy(EXAMPLES / name, clips)
    words = [
        "--codecs",
        "mixcodec:speech-16k@1,3",
        "identity",
        "--data",
        clips,
        "--no-gates",
        "--jobs",
        1,
        "--metrics",
        "stoi",
        "mel",
    ]
    status, said, _ = run(capsys, *words, "--out", tmp_path / "one")
    assert status == 0
    assert "2 clips, 3 operating points, 0 of 6 rows with a problem" in said
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "journal.jsonl",
        "report.html",
        "results.parquet",
        "summary.md",
    }
    assert run(capsys, *words, "--out", tmp_path / "two")[0] == 0
    first, second = (read_results(tmp_path / name / "results.parquet") for name in ("one", "two"))
    assert first.rows == second.rows
    assert first.codebooks == second.codebooks
    summaries = [(tmp_path / name / "summary.md").read_text().split("## How it was made")[0] for name in ("one", "two")]
    tables = [[line for line in summary.splitlines() if line.startswith("|")] for summary in summaries]
    assert tables[0] == tables[1]
    assert "mixcodec eval --codecs" in summaries[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--codecs", "opsu@6"], "did you mean 'opus'"),
        (["--codecs", "opus@2"], "opus needs a bitrate of 6 to 256 kbps"),
        (["--codecs", "identity", "--metrics", "pesq_w"], "did you mean 'pesq_wb'"),
        (["--codecs", "identity", "--data", "nowhere"], "nowhere: not a folder"),
        (["--codecs", "identity", "--list", "nolist.txt"], "nolist.txt: the list cannot be read"),
        (["--codecs", "identity", "--sample-rate", "10"], "not between 4000 and 192000"),
        (["--codecs", "identity", "--jobs", "0"], "at least 1"),
        (["--codecs", "mixcodec:nomodel@3"], "nomodel"),
        (["--codecs", "encodec@6"], "encodec"),
        (["--codecs"], "--codecs"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--data" not in words:
        words = [*words, "--data", EXAMPLES]
    status, _, said = run(capsys, *words, "--out", "report")
    assert status == 2
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_a_file(tmp_path, capsys):
    (tmp_path / "report").write_text("mine")
    status, _, said = run(
        capsys, "--codecs", "identity", "--data", EXAMPLES, "--out", tmp_path / "report", "--no-gates", "--metrics", "mel"
    )
    assert status == 2
    assert "cannot be made a folder" in said
    assert (tmp_path / "report").read_text() == "mine"


def test_names_that_are_no_utf_8_come_through(tmp_path, capsys):
    """Into tables, report and messages they go as escapes; a copy of the file under another name counts once."""
    clips = tmp_path / "clips"
    clips.mkdir()
    name = os.fsencode(clips) + b"/caf\xe9\n.flac"
    shutil.copy(EXAMPLES / "directory.flac", name)
    (clips / "again.flac").symlink_to(name)
    (clips / os.fsdecode(b"br\xf6ken.wav")).write_bytes(b"no audio")
    (clips / "ring").symlink_to(clips)
    os.mkfifo(clips / "pipe.wav")
    out = tmp_path / os.fsdecode(b"r\xe9port")
    words = ["--codecs", "identity", "--data", clips, "--no-gates", "--jobs", 1, "--metrics", "mel", "--out", out]
    status, said, _ = run(capsys, *words)
    assert status == 0
    assert "3 clips, 1 operating points, 2 of 3 rows with a problem" in said
    names = {"caf\\udce9\\n.flac", "br\\udcf6ken.wav", "pipe.wav"}
    assert {row.clip for row in read_results(out / "results.parquet").rows} == names
    assert "br" in (out / "summary.md").read_text()
    assert "caf" in (out / "report.html").read_text()
