"""Temporary files: where they are put, and that none of them stays, however a process ends.

A name tells which process made the file, and where that runs: `.mixcodec-PID-PLACE-RANDOM.tmp`. What a process that was killed
left behind is removed by the next one that writes into the same folder, and by no process that cannot know that it is dead.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from mixcodec.errors import FileError

NAME = re.compile(r"\.mixcodec-(\d+)-(?:([0-9a-f]{8})-)?[0-9a-f]{8}\.tmp")
OLD_SECONDS = 48 * 3600.0
"""Since its last change, after which a file of a process that cannot be asked about is taken for abandoned."""
MOST_ENTRIES = 10_000
"""So many entries of a folder are looked at for what was left behind: in a larger one it may stay."""
MEMORY_BYTES = 1 << 22
"""What a spool holds in memory before it goes to disk."""

_ours: set[str] = set()
_tidied: set[str] = set()


@contextmanager
def temporary_name(folder: str) -> Iterator[str]:
    """A name for a new file or folder in `folder`; whatever is there under it at the end of the block is removed."""
    _tidy(folder)
    path = os.path.join(folder, f".mixcodec-{os.getpid()}-{_place()}-{os.urandom(4).hex()}.tmp")
    _ours.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _ours.discard(path)


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new empty folder in `parent`, by default among the system's temporary files, that vanishes at the end of the block.

    Raises:
        OSError: it cannot be made. FileError: likewise, of the system's.
    """
    with temporary_name(str(parent) if parent else _system_folder()) as name:
        try:
            os.mkdir(name, 0o700)
        except OSError as error:
            if parent:
                raise
            raise _full(os.path.dirname(name), error) from None
        yield Path(name)


def temporary_file() -> BinaryIO:
    """A nameless file on disk that vanishes when it is closed.

    Raises:
        FileError: there is no folder for it; likewise its `write`, `flush` and `close` where the disk is full.
    """
    import tempfile  # takes a few milliseconds, and few runs need it

    folder = _system_folder()
    try:
        file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise _full(folder, error) from None
    with file:
        return cast(BinaryIO, io.BufferedRandom(_OnDisk(os.dup(file.fileno()), folder)))


class Spool:
    """A binary file of any length that waits to be read: in memory while it is short, else a `temporary_file`."""

    def __init__(self) -> None:
        self._file: BinaryIO = io.BytesIO()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        """As of any file."""
        if isinstance(self._file, io.BytesIO) and self._file.tell() + len(data) > MEMORY_BYTES:
            on_disk = temporary_file()
            on_disk.write(self._file.getbuffer())
            on_disk.seek(self._file.tell())
            self._file = on_disk
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _OnDisk(io.FileIO):
    """A temporary file that says so where the disk is full."""

    def __init__(self, handle: int, folder: str) -> None:
        super().__init__(handle, "r+b")
        self._folder = folder

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _full(self._folder, error) from None


def remove_ours() -> None:
    """Remove what this process has not removed yet: it is about to end."""
    for path in list(_ours):
        if f".mixcodec-{os.getpid()}-" in path:  # or a fork would remove what is its parent's
            _remove(path)


def _system_folder() -> str:
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"there is no folder for temporary files ({reason}); name one that can be written in TMPDIR") from None


def _full(folder: str, error: OSError) -> FileError:
    reason = (error.strerror or str(error)).lower()
    return FileError(f"{folder}: cannot hold a temporary file ({reason}); make room, or name another folder in TMPDIR")


def _tidy(folder: str) -> None:
    """Remove what dead processes left in `folder`; once for a process."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MOST_ENTRIES:
                return
            if entry.name.startswith(".mixcodec-") and (found := NAME.fullmatch(entry.name)):
                with suppress(OSError):
                    if _is_left_behind(int(found[1]), found[2], entry.stat(follow_symlinks=False)):
                        _remove(entry.path)


def _is_left_behind(process: int, place: str | None, found: os.stat_result) -> bool:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return False
    if place == _place():
        return not _is_alive(process)
    return time.time() - found.st_mtime > OLD_SECONDS and not _is_alive(process)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@cache
def _place() -> str:
    """Where the numbers of processes mean what they mean here: this boot of this machine, and within it this container."""
    told = [sys.platform, os.uname().nodename if hasattr(os, "uname") else ""]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        told.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(repr(told).encode()):08x}"


def _remove(path: str) -> None:
    with suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil  # takes some milliseconds, and nearly no run needs it

            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
