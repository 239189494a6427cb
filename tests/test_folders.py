"""The walk that finds audio files: each once, whatever leads to it, and nothing that would hang or is nobody's recording."""

import os
import socket
from pathlib import Path

import pytest

from mixcodec import folders
from mixcodec.folders import audio_files, printable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode())
    return path


def test_links_in_a_ring_come_to_an_end_and_add_nothing(root: Path) -> None:
    put(root / "a/x.wav")
    put(root / "b/y.wav")
    put(root.parent / "beside.wav")
    for link, target in (("a/here", "."), ("a/up", ".."), ("b/across", "../a"), ("out", "../.."), ("self", "self")):
        (root / link).symlink_to(target)
    (root / "a/b").symlink_to(root / "b")
    (root / "b/a").symlink_to(root / "a")
    assert audio_files(root) == folders.Found(("a/x.wav", "b/y.wav"), (), ())


def test_a_file_is_counted_once_under_its_own_name(root: Path) -> None:
    real = put(root / "m/real.wav")
    (root / "a.wav").symlink_to(real)  # before it in the alphabet, and a link
    (root / "z.wav").symlink_to("a.wav")
    os.link(real, root / "m/hard.wav")
    (root / "again").symlink_to("m")
    assert audio_files(root).files == ("m/hard.wav",)  # of two own names the first
    put(root / "twin.wav").write_bytes(real.read_bytes())  # another file with the same bytes
    assert audio_files(root).files == ("m/hard.wav", "twin.wav")


def test_links_that_lead_out_are_followed_once(root: Path) -> None:
    put(root.parent / "elsewhere/deep/x.wav")
    (root / "two").symlink_to(root.parent / "elsewhere/deep")
    (root / "one").symlink_to(root.parent / "elsewhere")
    (root.parent / "elsewhere/back").symlink_to(root)
    assert audio_files(root).files == ("one/deep/x.wav",)


def test_what_nobody_recorded_is_passed_over(root: Path) -> None:
    put(root / "talk.wav")
    for name in ("._talk.wav", ".hidden.wav", ".git/x.wav", "__MACOSX/._talk.wav", "__MACOSX/talk.wav", ".AppleDouble/talk.wav"):
        put(root / name)
    for name in ("@eaDir/talk.wav", "$RECYCLE.BIN/$R1.wav", "notes.txt", "wav", "talk.wav.part"):
        put(root / name)
    (root / "folder.wav").mkdir()
    assert audio_files(root) == folders.Found(("talk.wav",), (), ())
    assert audio_files(put(root.parent / ".store/x.wav").parent).files == ("x.wav",)  # hidden, but asked for


def test_what_is_no_regular_file_is_said_and_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "a.wav")
    os.mkfifo(root / "pipe.wav")
    monkeypatch.chdir(root)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("sock.wav")
        (root / "gone.wav").symlink_to("nowhere")
        (root / "null.wav").symlink_to("/dev/null")
        found = audio_files(root)
    assert found.files == ("a.wav",)
    reasons = dict(found.left_out)
    assert reasons.keys() == {"pipe.wav", "sock.wav", "gone.wav", "null.wav"}
    assert "a named pipe" in reasons["pipe.wav"]
    assert "a socket" in reasons["sock.wav"]
    assert "a device" in reasons["null.wav"]
    assert "no such file" in reasons["gone.wav"]


def test_folders_that_cannot_be_listed_are_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "a/x.wav")
    put(root / "locked/y.wav")
    scandir = os.scandir

    def guarded(path: str) -> object:  # as for a user without the right: root may read everything
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = audio_files(root)
    assert found.files == ("a/x.wav",)
    assert found.unread == (("locked", "cannot be read (permission denied)"),)


def test_names_that_are_no_utf_8_are_found_and_can_be_written(root: Path) -> None:
    with open(os.fsencode(root) + b"/caf\xe9.wav", "wb") as file:
        file.write(b"x")
    (name,) = audio_files(root).files
    assert (root / name).is_file()
    with pytest.raises(UnicodeEncodeError):
        name.encode()
    assert printable(name) == "caf\\udce9.wav"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("über 日本 é.wav", "über 日本 é.wav"),
        ("a\nb\tc.wav", "a\\nb\\tc.wav"),
        ("\x1b[31m.wav", "\\x1b[31m.wav"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u00a0b\u200dc", "a\u00a0b\u200dc"),
        ("", ""),
    ],
)
def test_printable_changes_only_what_has_to_be(name: str, text: str) -> None:
    assert printable(name) == text
    printable(name).encode()
