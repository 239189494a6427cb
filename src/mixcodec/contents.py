"""The bytes of a file, read at any place, and a part of them as a file of its own."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

SEARCH_BYTES = 1 << 20


class Contents:
    """The bytes of an open seekable binary file.

    A file of the operating system is read without moving its position; any other object by `seek` and `read`.

    Attributes:
        size: bytes, when it was opened.
        descriptor: of the file, where it is one of the operating system and is `own`.
    """

    def __init__(self, file: BinaryIO, *, own: bool) -> None:
        """`own` says that nobody else reads `file`, so that it may be read past Python's buffer."""
        self._file = file
        self.descriptor = _descriptor(file) if own else None
        self.size = os.fstat(self.descriptor).st_size if self.descriptor is not None else file.seek(0, os.SEEK_END)

    def at(self, position: int, count: int) -> bytes:
        """`count` bytes from `position` on; fewer where the file ends."""
        count = min(count, self.size - position)
        if count <= 0:
            return b""
        if self.descriptor is not None:
            return os.pread(self.descriptor, count, position)
        self._file.seek(position)
        found = self._file.read(count)
        while 0 < len(found) < count and (more := self._file.read(count - len(found))):  # an unbuffered file gives what it likes
            found += more
        return found

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """The bytes from `start` to `stop` in blocks of at most SEARCH_BYTES, each with its position."""
        while start < stop and (block := self.at(start, min(SEARCH_BYTES, stop - start))):
            yield start, block
            start += len(block)

    def find(self, wanted: bytes, start: int, stop: int | None = None) -> int:
        """The first place of `wanted` from `start` on; -1 where there is none."""
        before = b""
        for position, block in self.blocks(start, self.size if stop is None else stop):
            found = (before + block).find(wanted)
            if found >= 0:
                return position - len(before) + found
            before = block[-len(wanted) + 1 :] if len(wanted) > 1 else b""
        return -1


class Window(io.RawIOBase):
    """The bytes `start` to `stop` of a file as a file, with `head` before them and other bytes where `patches` say so.

    Args:
        patches: pairs (position in the whole file, bytes that stand there instead).
    """

    def __init__(
        self, contents: Contents, start: int, stop: int, head: bytes = b"", patches: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._contents = contents
        self._start, self._head, self._patches = start, head, patches
        self._size = len(head) + stop - start
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        block = self._block(min(len(buffer), max(0, self._size - self._position)))
        buffer[: len(block)] = block
        self._position += len(block)
        return len(block)

    def _block(self, count: int) -> bytes:
        if self._position < len(self._head):
            return self._head[self._position : self._position + count]
        place = self._start + self._position - len(self._head)
        block = self._contents.at(place, count) if count else b""
        for position, instead in self._patches:
            first, last = max(position, place), min(position + len(instead), place + len(block))
            if first < last:
                block = block[: first - place] + instead[first - position : last - position] + block[last - place :]
        return block


class SilentWindow(Window):
    """One that raises nothing: libsndfile calls it from C, where that would be lost. It seems to end where reading fails.

    Attributes:
        failure: what it did not raise.
    """

    failure: BaseException | None = None

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        try:
            return super().readinto(buffer)
        except BaseException as error:
            self.failure = error
            return 0


def _descriptor(file: BinaryIO) -> int | None:
    try:
        return file.fileno()
    except (AttributeError, OSError):
        return None
