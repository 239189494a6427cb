"""Unsigned integers of variable length: groups of 7 bits, least significant first; the high bit says that another one follows."""

from __future__ import annotations

from mixcodec.errors import BitstreamError

MAX_BYTES = 7
"""So a varint is below 2**49."""


class CutShortError(BitstreamError):
    """The bytes end where more were to come: there must be at least `needed`."""

    def __init__(self, message: str = "is cut short", needed: int = 0) -> None:
        super().__init__(message)
        self.needed = needed


def varint(value: int) -> bytes:
    """The shortest form of `value`."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


class Fields:
    """Reads the fields of a record one after the other.

    Raises:
        BitstreamError: from every method, where the bytes end or are no such field.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if len(self._data) - self.position < count:
            raise CutShortError(needed=self.position + count)
        self.position += count
        return bytes(self._data[self.position - count : self.position])

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """The next varint, which must be in its shortest form."""
        value = 0
        for place in range(MAX_BYTES):
            group = self.byte()
            value |= (group & 0x7F) << 7 * place
            if group < 0x80:
                if group == 0 and place:
                    raise BitstreamError("holds a number that is not in its shortest form")
                return value
        raise BitstreamError("holds a number that is too long")

    def text(self, limit: int) -> str:
        """A length of at most `limit` and as many bytes of UTF-8."""
        length = self.number()
        if length > limit:
            raise BitstreamError(f"holds a text of {length} bytes, more than {limit}")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise BitstreamError("holds a text that is not UTF-8") from None
