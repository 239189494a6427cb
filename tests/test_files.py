"""Files in and out: what is replaced, what is kept, what is left behind."""

import io
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixcodec import read_audio, temporary
from mixcodec.errors import FileError
from mixcodec.files import atomic_output, check_distinct, check_outside, is_stream, same_file, seekable_input
from mixcodec.temporary import Spool, temporary_file, temporary_folder, temporary_name


def write(path, data=b"new"):
    with atomic_output(path) as file:
        file.write(data)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(temporary, "_tidied", set())
    return tmp_path


@pytest.mark.parametrize("mode", [0o600, 0o604, 0o640, 0o664, 0o777])
def test_a_replaced_file_keeps_its_mode(mode):
    Path("x").write_bytes(b"old")
    os.chmod("x", mode)
    os.symlink("x", "link")
    for name in ("x", "link"):
        write(name)
        assert stat.S_IMODE(os.stat("x").st_mode) == mode
    assert os.path.islink("link")
    assert Path("x").read_bytes() == b"new"


def test_a_new_file_has_the_mode_of_any():
    before = os.umask(0o027)
    try:
        write("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("x").st_mode) == 0o640


def test_nobody_reads_a_secret_file_while_it_is_replaced():
    Path("x").touch(0o600)
    os.chmod("x", 0o600)
    with atomic_output("x") as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_a_replaced_file_keeps_its_owner_where_that_is_allowed(monkeypatch):
    Path("x").write_bytes(b"old")
    if os.getuid() == 0:
        os.chown("x", 1234, 4321)
        os.chmod("x", 0o640)
        write("x")
        found = os.stat("x")
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o640)

    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", forbidden)
    write("x", b"newer")
    assert Path("x").read_bytes() == b"newer"


def test_names_that_are_none():
    for name, why in (("", "the name of the output is empty"), ("new/", "is the name of a folder"), (".", "is a directory")):
        with pytest.raises(FileError, match=why):
            write(name)
    assert os.listdir() == []


def test_which_targets_are_streams():
    os.mkfifo("pipe")
    os.symlink("/dev/stdout", "link")
    os.symlink("link", "further")
    Path("file").touch()
    streams = [
        "-",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/fd/1",
        "/proc/self/fd/1",
        f"/proc/{os.getpid()}/fd/2",
        "pipe",
        "link",
        "further",
    ]
    assert [name for name in [*streams, "/dev/null"] if not is_stream(name)] == []
    assert [name for name in ("file", "nothing", "-x", ".", "fd/1", "dev/stdout", "") if is_stream(name)] == []
    assert is_stream(io.BytesIO())


def test_a_descriptor_gets_what_is_written_in_its_place(tmp_path):
    """Behind what is in the file already, and into that very file: it is not replaced."""
    with open("x", "wb") as file:
        file.write(b"before ")
        file.flush()
        number = os.stat("x").st_ino
        for name in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            write(name, b"new ")
    assert (Path("x").read_bytes(), os.stat("x").st_ino) == (b"before new new ", number)
    with open("x", "rb") as file, pytest.raises(FileError, match="bad file descriptor"):
        write(f"/dev/fd/{file.fileno()}")
    with pytest.raises(FileError, match="bad file descriptor"):
        write("/dev/fd/987")


def test_the_same_file_by_any_name(tmp_path):
    Path("x").write_bytes(b"x")
    os.mkdir("folder")
    os.symlink("x", "link")
    os.link("x", "hard")
    os.symlink(tmp_path, "folder/up")
    Path("y").write_bytes(b"x")
    with open("x", "rb") as opened:
        names = ["x", "./x", tmp_path / "x", "folder/../x", "link", "hard", "folder/up/x", f"/dev/fd/{opened.fileno()}", opened]
        for one in names:
            for other in names:
                assert same_file(one, other)
                with pytest.raises(FileError, match="is the input itself"):
                    check_distinct(one, "y", other)
            assert not same_file(one, "y")
    check_distinct("new", "x", "y", None, b"x", io.BytesIO())
    assert not same_file("/dev/null", "/dev/null")
    assert not same_file("nothing", "nothing")


def test_standard_streams_are_files_too(tmp_path):
    """Input from a file, and output appended to it."""
    Path("x").write_bytes(b"old")
    code = "import sys; from mixcodec.files import same_file; print(same_file('-', 'x'), same_file('x', '-'), file=sys.stderr)"
    for redirect, expected in (("<x >y", "True False"), ("<y >>x", "False True"), ("</dev/null >/dev/null", "False False")):
        command = f'touch y; "{sys.executable}" -c "{code}" {redirect}'
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert done.stderr.split() == expected.split()


def test_what_lies_in_a_folder_to_be_replaced(tmp_path):
    os.makedirs("model/deep")
    os.symlink("model", "link")
    Path("model/x").touch()
    os.symlink("model/x", "x")
    for source in ("model", "model/x", "link/x", "model/deep", "x"):
        for replaced in ("model", "link"):
            with pytest.raises(FileError, match="is to be replaced, but"):
                check_outside(replaced, "other", source)
    check_outside("model", "models", "modelx/y", None, ".", "x2")


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Of this machine at once, of others after two days; never while the process lives, nor anything of another name."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, elsewhere = temporary._place(), "00000000"
    assert here != elsewhere

    def leave(process, place, age=0.0, name=".mixcodec-{}-{}-0123abcd.tmp"):
        path = Path(name.format(process, place))
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
        return path

    alive = os.getppid()
    kept = [leave(alive, here, 1e6), leave(os.getpid(), here), leave(dead.pid, elsewhere, 3600), leave(alive, elsewhere, 1e6)]
    kept += [
        leave(dead.pid, here, name=name)
        for name in (".mixcodec-{}-{}-0123abcd", "mixcodec-{}-{}-0123abcd.tmp", ".mixcodec-{}{}.tmp")
    ]
    gone = [leave(dead.pid, here), leave(dead.pid, "11111111", 1e6), leave(dead.pid, "", 1e6, ".mixcodec-{}-{}0123abcd.tmp")]
    os.mkdir(f".mixcodec-{dead.pid}-{here}-89abcdef.tmp")
    Path(f".mixcodec-{dead.pid}-{here}-89abcdef.tmp/x").touch()
    os.symlink("/", f".mixcodec-{dead.pid}-{here}-77777777.tmp")
    write("x")
    assert [path.name for path in gone if path.exists()] == []
    assert [path.name for path in kept if not path.exists()] == []
    assert not os.path.exists(f".mixcodec-{dead.pid}-{here}-89abcdef.tmp")
    assert os.path.islink(f".mixcodec-{dead.pid}-{here}-77777777.tmp")


def test_temporary_names_and_folders(tmp_path):
    def fail():
        with temporary_name(str(tmp_path)) as name:
            Path(name).write_bytes(b"x")
            assert f"-{os.getpid()}-" in name
            assert os.listdir() == [os.path.basename(name)]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with temporary_folder(tmp_path) as folder:
        (folder / "x").touch()
    assert os.listdir() == []
    with pytest.raises(OSError, match="No such file"), temporary_folder(tmp_path / "nothing"):
        pass


def test_no_room_for_temporary_files(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(Path("nothing").absolute()))
    with pytest.raises(FileError, match=r"nothing: cannot hold a temporary file .* TMPDIR"):
        temporary_file()
    with pytest.raises(FileError, match="TMPDIR"), temporary_folder():
        pass
    if os.path.exists("/dev/full"):
        full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
        monkeypatch.setattr("tempfile.tempdir", "/somewhere")
        spool = Spool()
        with pytest.raises(FileError, match=r"/somewhere: cannot hold a temporary file .no space left"):
            spool.write(bytes(temporary.MEMORY_BYTES + 1))


@pytest.mark.parametrize("size", [10, 1000])
def test_a_spool_is_a_file(monkeypatch, size):
    monkeypatch.setattr(temporary, "MEMORY_BYTES", 100)
    with Spool() as spool:
        for start in range(0, size, 7):
            spool.write(
                bytes(range(start % 256, start % 256 + 7))[: size - start] if start % 256 < 249 else bytes(7)[: size - start]
            )
        length = spool.tell()
        assert length == size
        spool.seek(0)
        first = spool.read()
        spool.seek(3)
        spool.write(b"abc")
        spool.seek(0)
        assert spool.read() == first[:3] + b"abc" + first[6:]


def test_an_input_that_cannot_seek_is_spooled():
    os.mkfifo("pipe")
    writer = subprocess.Popen([sys.executable, "-c", "open('pipe', 'wb').write(bytes(5_000_000))"])
    with seekable_input("pipe") as file:
        assert len(file.read()) == 5_000_000
        file.seek(4_999_999)
        assert file.read() == b"\0"
    assert writer.wait() == 0


def test_the_example_of_the_guide():
    root = Path(__file__).parent.parent
    os.symlink(root / "examples", "examples")
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs/files.md").read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert read_audio(names["wav"].getvalue())[0].shape == names["wave"].shape
