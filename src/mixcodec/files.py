"""Files in and out: readable ones made seekable, written ones made atomic.

A reader may be a path, or ``-`` (standard input), or a pipe, or an open binary file, or bytes; libsndfile and the checksum pass
need to seek, so what cannot seek is copied first. A writer gets a temporary file in the folder of its target, which takes the
target's name only when everything went well: nobody ever sees half a file. What is written to a stream (standard output under
whichever name, a device, a pipe, an open file) waits until all of it is there.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, cast

from mixcodec.contents import Contents, Window
from mixcodec.errors import FileError
from mixcodec.temporary import Spool, temporary_file, temporary_name

__all__ = [
    "PathLike",
    "Source",
    "Target",
    "atomic_output",
    "check_distinct",
    "check_outside",
    "copy",
    "display_name",
    "is_stream",
    "same_file",
    "seekable_input",
    "temporary_file",
]

PathLike = str | os.PathLike[str]
"""A file's name; ``-`` is standard input or output."""
Source = PathLike | bytes | bytearray | memoryview | IO[bytes]
"""What is read: a file's name, its contents, or a binary file, from where it stands to its end; that is not closed."""
Target = PathLike | IO[bytes]
"""What is written: a file's name, or a binary file; that is not closed."""

COPY_BYTES = 1 << 20
MOST_LINKS = 40
OWN_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/(\d+|self|thread-self)(?:/task/\d+)?/fd/(\d+)")


def display_name(path: Source | Target, default: str = "standard input") -> str:
    """The name under which a path, bytes or an open file appear in messages."""
    if isinstance(path, bytes | bytearray | memoryview):
        return "the bytes"
    if not isinstance(path, str | os.PathLike):
        name = getattr(path, "name", None)
        return name if isinstance(name, str) and name else "the open file"
    return default if os.fspath(path) == "-" else os.fspath(path)


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy the rest of one open file to another, block by block."""
    while block := source.read(COPY_BYTES):
        target.write(block)


def _reason(error: OSError | ValueError) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


@contextmanager
def seekable_input(source: Source) -> Iterator[BinaryIO]:
    """Open `source` (``-`` is standard input) as a seekable binary file at its beginning.

    Raises:
        FileError: it is not there, is a directory, may not be read, is closed or no binary file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        with _opened(source) as opened:
            yield opened
        return
    name = os.fspath(source)
    if name == "-":
        if sys.stdin is None:
            raise FileError("standard input: is closed; name a file, or send one through a pipe")
        with _spooled(sys.stdin.buffer, "standard input") as spool:
            yield spool
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed by the `with` below
    except FileNotFoundError:
        raise FileError(f"{name}: no such file; check the name") from None
    except IsADirectoryError:
        raise FileError(f"{name}: is a directory; give a file") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{name}: cannot be read ({_reason(error)}); check the name and its permissions") from None
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file
            return
        with _spooled(file, name) as spool:
            yield spool


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[BinaryIO]:
    """An open file of the caller's as one that begins where it stands."""
    name = display_name(file)
    with _read_errors(name):
        if not hasattr(file, "read") or not isinstance(file.read(0), bytes):
            raise FileError(f"{name}: is not a binary file; open it with mode 'rb'")
        whole = hasattr(file, "seekable") and file.seekable()
        start = file.tell() if whole else 0
        if hasattr(file, "flush") and hasattr(file, "writable") and file.writable():
            file.flush()  # what was written to it last
        contents = Contents(cast(BinaryIO, file), own=False) if whole else None
    if contents:
        yield cast(BinaryIO, io.BufferedReader(Window(contents, start, max(start, contents.size))))
        return
    with _spooled(cast(BinaryIO, file), name) as spool:
        yield spool


@contextmanager
def _spooled(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with Spool() as spool:
        with _read_errors(name):
            copy(file, cast(BinaryIO, spool))
        spool.seek(0)
        yield cast(BinaryIO, spool)


@contextmanager
def _read_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise FileError(f"{name}: cannot be read ({_reason(error)})") from None


@contextmanager
def atomic_output(path: Target) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends well, and vanishes when it does not.

    ``-`` is standard output, which receives everything at the end of the block, as do other streams: ``/dev/stdout`` and its
    like, a device, a named pipe, an open file. A file that is replaced keeps its mode and, where that is allowed, its owner; a
    link stays a link.

    Raises:
        FileError: the target is a directory, its folder is missing or may not be written, or the disk is full.
    """
    if not isinstance(path, str | os.PathLike):
        if hasattr(path, "encoding") or not hasattr(path, "write"):  # the encoding is that of a text
            raise FileError(f"{display_name(path)}: is not a binary file; open it with mode 'wb'")
        with Spool() as spool:
            yield cast(BinaryIO, spool)
            with _write_errors(display_name(path)):
                _send(cast(BinaryIO, spool), cast(BinaryIO, path))
        return
    name = os.fspath(path)
    if not name:
        raise FileError("the name of the output is empty; name a file to write")
    if is_stream(name):
        with _open_stream(name) as stream, Spool() as spool:
            yield cast(BinaryIO, spool)
            with _write_errors(display_name(name, "standard output")):
                _send(cast(BinaryIO, spool), stream)
        return
    if os.path.isdir(name):
        raise FileError(f"{name}: is a directory; name a file to write")
    if name.endswith(os.sep):
        raise FileError(f"{name}: is the name of a folder that is not there; name a file to write")
    target = os.path.realpath(name)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise FileError(f"{name}: cannot be written (permission denied); choose another target with -o")
    with _write_errors(name), temporary_name(os.path.dirname(target)) as temporary:
        with _open_target(temporary, target, name) as file:
            yield file
            _keep_mode(file, target)
        os.replace(temporary, target)


@contextmanager
def _write_errors(name: str) -> Iterator[None]:
    """Turn what the operating system says about a target into a FileError; a closed pipe is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileError(f"{name}: cannot be written ({_reason(error)}); choose another target with -o") from error


def is_stream(path: Target) -> bool:
    """Whether a target is no file to be replaced, but a stream: standard output, a descriptor, a device, a pipe, an open file."""
    if not isinstance(path, str | os.PathLike):
        return True
    name = os.fspath(path)
    if name == "-" or _descriptor(name) is not None:
        return True
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(name: str) -> int | None:
    """The number of this process's open file that a name stands for, as /dev/stdout does; None where it stands for none."""
    with suppress(OSError, ValueError):
        for _ in range(MOST_LINKS):
            name = os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))
            if found := OWN_DESCRIPTOR.fullmatch(name):
                owner = found[2]
                return int(found[1] or found[3]) if owner in (None, "self", "thread-self", str(os.getpid())) else None
            if not os.path.islink(name):
                return None
            name = os.path.join(os.path.dirname(name), os.readlink(name))
    return None


@contextmanager
def _open_stream(name: str) -> Iterator[BinaryIO]:
    """The stream of that name, to be written to."""
    number = 1 if name == "-" else _descriptor(name)
    shown = display_name(name, "standard output")
    if number == 1 and sys.__stdout__ is None:  # as it was when the process began
        raise FileError(f"{shown}: is closed; name a file to write")
    if number == 1:
        sys.stdout.flush()
    if name == "-":
        try:
            number = sys.stdout.fileno()
        except OSError:  # standard output is none of the operating system
            yield cast(BinaryIO, sys.stdout.buffer)
            return
    if number is not None:
        with _write_errors(shown):
            os.write(number, b"")  # fails at once where it is not open for writing
            file = io.FileIO(os.dup(number), "wb")
        with file:
            yield cast(BinaryIO, file)
    else:
        try:
            stream = open(name, "wb", buffering=0)  # noqa: SIM115 - closed by the `with` below
        except (OSError, ValueError) as error:
            raise _unwritable(name, error) from None
        with stream:
            yield cast(BinaryIO, stream)


def _send(spool: BinaryIO, stream: BinaryIO) -> None:
    """All of `spool` to a stream, which may take less at a time than it is given."""
    spool.seek(0)
    while block := memoryview(spool.read(COPY_BYTES)):
        while block:
            taken = stream.write(block)
            block = block[len(block) if taken is None else taken :]
    if hasattr(stream, "flush"):
        stream.flush()


def _open_target(temporary: str, target: str, name: str) -> BinaryIO:
    """The temporary file that is to become `target`, readable by nobody who cannot read that."""
    mode = 0o666
    with suppress(OSError):
        mode &= os.stat(target).st_mode | stat.S_IRUSR | stat.S_IWUSR
    try:
        return cast(BinaryIO, open(temporary, "x+b", opener=lambda path, flags: os.open(path, flags, mode)))
    except (OSError, ValueError) as error:
        raise _unwritable(name, error) from None


def _unwritable(name: str, error: OSError | ValueError) -> FileError:
    if isinstance(error, FileNotFoundError):
        folder = os.path.dirname(name) or "."
        return FileError(f"{name}: the folder {folder} does not exist; make it, or choose another target with -o")
    return FileError(f"{name}: cannot be written ({_reason(error)}); choose another target with -o")


def _keep_mode(file: BinaryIO, target: str) -> None:
    """Give the file that is to replace `target` its owner, its group and its mode, as far as that is allowed."""
    try:
        former, handle = os.stat(target), file.fileno()
    except OSError:
        return
    for owner in ((former.st_uid, -1), (-1, former.st_gid)):
        with suppress(OSError):
            os.fchown(handle, *owner)
    with suppress(OSError):
        os.fchmod(handle, former.st_mode & 0o777)


def same_file(one: Source | Target, other: Source | Target) -> bool:
    """Whether two names, or open files, are the same file: by another name, a link or a hard link too; ``-`` is standard input
    as the first, and standard output as the second."""
    first, second = _identity(one, 0), _identity(other, 1)
    return first is not None and first == second


def _identity(path: Source | Target, standard: int) -> tuple[int, int] | None:
    """Which file something is; None where it is none that could be read and written over."""
    try:
        if isinstance(path, str | os.PathLike):
            found = os.fstat(standard) if os.fspath(path) == "-" else os.stat(path)
        else:
            found = os.fstat(cast(Any, path).fileno())
    except (OSError, ValueError, AttributeError):
        return None
    whole = stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)
    return (found.st_dev, found.st_ino) if whole else None


def check_distinct(target: Target, *sources: Source | None) -> None:
    """Raise FileError where `target` is one of the files that a command reads."""
    for source in sources:
        if source is not None and same_file(source, target):
            shown = display_name(target, "standard output")
            raise FileError(f"{shown}: is the input itself; choose another target with -o")


def check_outside(folder: PathLike, *sources: PathLike | None) -> None:
    """Raise FileError where one of the files or folders that a command reads lies in the `folder` that it is to replace."""
    replaced = os.path.realpath(folder)
    for source in sources:
        if source is not None and os.path.commonpath([replaced, os.path.realpath(source)]) == replaced:
            raise FileError(f"{os.fspath(folder)}: is to be replaced, but {os.fspath(source)} is in it; choose another folder")
