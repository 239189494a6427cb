"""Files in and out: readable ones made seekable, written ones made atomic.

A reader may be a path, or ``-`` (standard input), or a pipe; libsndfile and the checksum pass need to seek, so what
cannot seek is copied to a temporary file first. A writer gets a temporary file in the folder of its target, which takes
the target's name only when everything went well: nobody ever sees half a file.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from mixcodec.errors import FileError

PathLike = str | os.PathLike[str]
"""A file's name; ``-`` is standard input or output."""

COPY_BYTES = 1 << 20


def display_name(path: PathLike, default: str = "standard input") -> str:
    """The name under which a path appears in messages."""
    return default if os.fspath(path) == "-" else os.fspath(path)


def temporary_file() -> BinaryIO:
    """A nameless file on disk that vanishes when it is closed."""
    import tempfile  # takes a few milliseconds, and few runs need it

    return cast(BinaryIO, tempfile.TemporaryFile())


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy the rest of one open file to another, block by block."""
    while block := source.read(COPY_BYTES):
        target.write(block)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


@contextmanager
def seekable_input(path: PathLike) -> Iterator[BinaryIO]:
    """Open `path` (``-`` is standard input) as a seekable binary file at its beginning.

    Raises:
        FileError: it is not there, is a directory, or may not be read.
    """
    name = os.fspath(path)
    if name == "-":
        with temporary_file() as spool:
            copy(sys.stdin.buffer, spool)
            spool.seek(0)
            yield spool
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed by the `with` below
    except FileNotFoundError:
        raise FileError(f"{name}: no such file; check the name") from None
    except IsADirectoryError:
        raise FileError(f"{name}: is a directory; give a file") from None
    except (OSError, ValueError) as error:
        reason = _reason(error) if isinstance(error, OSError) else str(error)
        raise FileError(f"{name}: cannot be read ({reason}); check the name and its permissions") from None
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file
            return
        with temporary_file() as spool:
            copy(file, spool)
            spool.seek(0)
            yield spool


@contextmanager
def atomic_output(path: PathLike) -> Iterator[BinaryIO]:
    """Open a seekable binary file that becomes `path` when the block ends well, and vanishes when it does not.

    ``-`` is standard output, which receives everything at the end of the block. A target that is not a regular file
    (a device, a named pipe) is likewise filled at the end.

    Raises:
        FileError: the target is a directory, its folder is missing or may not be written, or the disk is full.
    """
    name = os.fspath(path)
    if name == "-" or _is_special(name):
        with temporary_file() as spool:
            yield spool
            spool.seek(0)
            with _write_errors(display_name(path, "standard output")):
                if name == "-":
                    copy(spool, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                else:
                    with _open_target(name, "wb", name) as special:
                        copy(spool, special)
        return
    if os.path.isdir(name):
        raise FileError(f"{name}: is a directory; name a file to write")
    target = os.path.realpath(name)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise FileError(f"{name}: cannot be written (permission denied); choose another target with -o")
    temporary = os.path.join(os.path.dirname(target), f".mixcodec-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    file = _open_target(temporary, "x+b", name)
    with _write_errors(name):
        try:
            with file:
                yield file
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


@contextmanager
def _write_errors(name: str) -> Iterator[None]:
    """Turn what the operating system says about a target into a FileError; a closed pipe is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileError(f"{name}: cannot be written ({_reason(error)}); choose another target with -o") from error


def _is_special(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _open_target(opened: str, mode: str, name: str) -> BinaryIO:
    try:
        return cast(BinaryIO, open(opened, mode))
    except FileNotFoundError:
        folder = os.path.dirname(name) or "."
        raise FileError(f"{name}: the folder {folder} does not exist; make it, or choose another target with -o") from None
    except (OSError, ValueError) as error:
        reason = _reason(error) if isinstance(error, OSError) else str(error)
        raise FileError(f"{name}: cannot be written ({reason}); choose another target with -o") from None


def same_file(one: PathLike, other: PathLike) -> bool:
    """Whether two names are the same existing file (``-`` never is)."""
    try:
        return "-" not in (os.fspath(one), os.fspath(other)) and os.path.samefile(one, other)
    except (OSError, ValueError):
        return False
