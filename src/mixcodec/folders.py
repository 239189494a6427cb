"""Audio files below a folder: the one walk of all that look for recordings.

What a folder that somebody has lived in also holds is passed over: hidden files and folders, the resource forks that macOS leaves
on other disks (`._talk.wav`, `__MACOSX`), a server's thumbnails, a recycle bin. A file is found once, however many links lead to
it. Names are whatever the disk holds: bytes that are no UTF-8 stand in them as Python's surrogates, see `printable`.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import unicodedata
from collections.abc import Iterator

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"}
)
PASSED_OVER = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"})
"""Folders that are not hidden and hold nobody's recordings, in lower case."""

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, ends of lines and paragraphs
TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows, behind which a name may hide its end."""

KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclasses.dataclass(frozen=True)
class Found:
    """What is below a folder; paths are relative to it, with forward slashes, sorted."""

    files: tuple[str, ...]
    """Regular files with the name of an audio file."""
    left_out: tuple[tuple[str, str], ...]
    """Other things with such a name, and why each is none: a pipe, a link that leads nowhere."""
    unread: tuple[tuple[str, str], ...]
    """Folders that cannot be listed, and why."""


def audio_files(root: str | os.PathLike[str], suffixes: frozenset[str] = AUDIO_SUFFIXES) -> Found:
    """The audio files below the folder `root`, at any depth, through links too.

    A file or folder to which several ways lead is taken once: by its own path if that is below the root, else by the first link
    in alphabetical order. So links in a ring come to an end, and a link to a folder around the root leads to nothing new. No file
    is opened.

    Args:
        root: a folder; where it is itself hidden or a link, it is walked all the same.
        suffixes: of the files that count, in lower case.
    """
    walk = _Walk(os.fspath(root), suffixes)
    walk.run()
    return Found(tuple(sorted(walk.files)), tuple(sorted(walk.left_out)), tuple(sorted(walk.unread)))


def printable(name: str | os.PathLike[str]) -> str:
    """A name as text that can be written anywhere, on one line: what cannot stands as its escape, such as \\udcff or \\n."""
    text = os.fspath(name)
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if c in TURNS or unicodedata.category(c) in UNPRINTABLE else c for c in text)


def not_regular(mode: int) -> str:
    """What a file of this mode is, instead of a regular one."""
    return f"is {KINDS.get(stat.S_IFMT(mode), 'no regular file')}, which is not read in a folder"


class _Walk:
    """One walk: what lies in folders first, links afterwards, so that a file's own path wins over any link to it."""

    def __init__(self, root: str, suffixes: frozenset[str]) -> None:
        self.root, self.suffixes = root, suffixes
        self.files: list[str] = []
        self.left_out: list[tuple[str, str]] = []
        self.unread: list[tuple[str, str]] = []
        self.seen: set[tuple[int, ...]] = set()

    def run(self) -> None:
        above = os.path.realpath(self.root)
        while (parent := os.path.dirname(above)) != above:  # a link to one of these would lead around the root in a ring
            above = parent
            try:
                self.seen.add(_identity(os.stat(above)))
            except OSError:
                continue
        links = [""]
        while links:
            again = []
            for path in sorted(links):
                again += self._follow(path)
            links = again

    def _follow(self, path: str) -> list[str]:
        """Takes what is at `path`, below the root, and all below it; the links there, for later."""
        name = os.path.basename(path)
        try:
            found = os.stat(os.path.join(self.root, path) if path else self.root)
        except OSError as error:
            if self._is_audio(name):
                self.left_out.append((path, _why(error)))
            return []
        if stat.S_ISDIR(found.st_mode):
            return self._folder(path, found)
        if self._is_audio(name):
            self._file(path, found)
        return []

    def _folder(self, path: str, found: os.stat_result) -> list[str]:
        links, folders = [], [(path, found)]
        while folders:
            path, found = folders.pop()
            if not self._new(found):
                continue
            inner_folders = []
            for name, inner in self._entries(path):
                below = f"{path}/{name}" if path else name
                if inner is None:
                    links.append(below)
                elif stat.S_ISDIR(inner.st_mode):
                    inner_folders.append((below, inner))
                elif self._is_audio(name):
                    self._file(below, inner)
            folders += reversed(inner_folders)
        return links

    def _entries(self, path: str) -> Iterator[tuple[str, os.stat_result | None]]:
        """Names in a folder with what they are, None for a link, in alphabetical order."""
        try:
            with os.scandir(os.path.join(self.root, path) if path else self.root) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            self.unread.append((path or ".", _why(error)))
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in PASSED_OVER:
                continue
            try:
                if entry.is_symlink():
                    yield entry.name, None
                elif entry.is_dir(follow_symlinks=False) or self._is_audio(entry.name):
                    yield entry.name, entry.stat(follow_symlinks=False)
            except OSError:  # gone since it was listed
                continue

    def _file(self, path: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            self.left_out.append((path, not_regular(found.st_mode)))
        elif self._new(found):
            self.files.append(path)

    def _new(self, found: os.stat_result) -> bool:
        """Whether this is the first time that it is met."""
        identity = _identity(found)
        new = identity not in self.seen
        self.seen.add(identity)
        return new

    def _is_audio(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self.suffixes


def _identity(found: os.stat_result) -> tuple[int, ...]:
    """What two ways to one file or folder have in common; of a file size and time too, for disks whose numbers are not unique."""
    file = () if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)
    return (found.st_dev, found.st_ino, *file)


def _why(error: OSError) -> str:
    return f"cannot be read ({(error.strerror or str(error)).lower()})"
