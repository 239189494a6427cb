"""Audio folders -> a manifest: which files there are, how long they are, and whose voice each one is.

Every header is read once. What was read is kept in a small JSON-lines cache, one row a file with its size and modification
time, so that a later build of the same root only looks at files that are new or changed.

Two hashes, because they answer two questions:

- `Manifest.manifest_hash` says WHICH DATA: sha256 over every file's path, size, rate, frames and labels. It is the same on
  every machine that holds a copy of the corpus, and is what a checkpoint stores.
- `Manifest.cache_key` says WHETHER ANYTHING ON THIS DISK CHANGED: it adds the root and the modification times, so that a
  file edited in place, to the same length, is packed again.
"""

import contextlib
import csv
import dataclasses
import difflib
import hashlib
import json
import logging
import os
import re
import stat
import warnings
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf

from mixcodec.audio import AudioReader
from mixcodec.contents import Contents
from mixcodec.errors import AudioError, AudioWarning, DataError, FileError
from mixcodec.files import atomic_output
from mixcodec.folders import audio_files, not_regular, printable
from mixcodec.formats import Damage, survey

log = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.tsv"
CACHE_MAGIC = "mixcodec-manifest-cache"
CACHE_VERSION = 2
MOST_WARNINGS = 20
"""Files that were left out are named one by one, up to this number."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One audio file that can be read."""

    path: str  # relative to the root, with forward slashes
    frames: int  # length at the native rate (an estimate for some compressed formats)
    rate: int  # native sample rate in Hz
    channels: int
    source: str  # where it comes from: a folder, a package, a corpus
    speaker: str = ""  # who speaks, as far as known
    kind: str = ""  # such as speech or music
    split: str = ""  # such as train or eval
    licence: str = ""
    language: str = ""
    size: int = 0  # bytes
    mtime_ns: int = 0  # modification time

    @property
    def seconds(self) -> float:
        return self.frames / self.rate

    @property
    def unit(self) -> str:
        """Source and speaker together: what is balanced, and what is held out as a whole."""
        return unit_name(self.source, self.speaker)


@dataclasses.dataclass(frozen=True, slots=True)
class Broken:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The files below one root, sorted by path."""

    root: Path
    entries: tuple[Entry, ...]
    broken: tuple[Broken, ...] = ()
    """Files that were left out."""
    unread: tuple[Broken, ...] = ()
    """Folders that could not be listed."""

    @property
    def seconds(self) -> float:
        return sum(e.seconds for e in self.entries)

    @property
    def units(self) -> dict[str, float]:
        """Seconds of each (source, speaker) unit, sorted by name."""
        total: dict[str, float] = {}
        for e in self.entries:
            total[e.unit] = total.get(e.unit, 0.0) + e.seconds
        return dict(sorted(total.items()))

    @property
    def manifest_hash(self) -> str:
        """sha256 over paths, sizes, rates, frames and labels: equal for equal copies of a corpus."""
        rows = [[e.path, e.size, e.rate, e.frames, e.channels, e.source, e.speaker] for e in self.entries]
        return _sha256(rows)

    @property
    def cache_key(self) -> str:
        """`manifest_hash` with root and modification times: names what is derived from these files on this disk."""
        return _sha256([self.manifest_hash, str(self.root), [e.mtime_ns for e in self.entries]])

    def filtered(self, keep: Callable[[Entry], bool]) -> "Manifest":
        """The manifest of only the entries that `keep` approves."""
        return dataclasses.replace(self, entries=tuple(e for e in self.entries if keep(e)))


def unit_name(source: str, speaker: str) -> str:
    return f"{source}/{speaker}" if speaker else source


def build_manifest(
    root: str | os.PathLike[str],
    *,
    manifest: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    split: str = "",
    kind: str = "",
    min_rate: int = 0,
    source_from: str = "parent",
    speaker_regex: str = "",
    only: Collection[str] | None = None,
) -> Manifest:
    """Lists the audio below `root`, from a walk through its folders or from an existing table.

    `manifest` is "auto" (`root/manifest.tsv` where there is one, else a walk), "scan" (always a walk) or the path of a
    tab-separated table, relative to the root or absolute, with the columns path, source and optionally speaker, kind,
    split, licence, language (others are ignored: lengths and rates are read from the files). `split` and `kind` keep
    only rows so labelled.
    In a walk, `source` is a file's parent folder relative to the root ("parent") or the first folder below the root
    ("first"), and the first group of `speaker_regex`, searched in the relative path, names the speaker.
    `only` keeps these paths alone; one that the table does not know is taken as a walk would find it.
    `min_rate` leaves out files whose native rate (Hz) is lower. `cache_dir=None` keeps no cache.

    A walk is that of `mixcodec.folders.audio_files`: hidden files and folders are passed over, and a file is taken once, however
    many links lead to it. Files that can't be read stand in `.broken` with a reason, folders in `.unread`, and both are logged.
    Raises DataError where nothing is left.
    """
    folder = Path(root)
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: not a folder; the data root is a folder with audio files")
    folder = Path(os.path.realpath(folder))
    broken: list[Broken] = []
    unread: list[Broken] = []
    table = _table_path(folder, manifest)
    if table is not None:
        labelled = _read_table(table, split, kind)
    elif split or kind:
        wanted = " and ".join(f"{k}={v!r}" for k, v in (("split", split), ("kind", kind)) if v)
        raise DataError(f"{folder}: {wanted} asked for, but there is no {MANIFEST_NAME} that says which files those are")
    else:
        labelled = _scan(folder, source_from, speaker_regex, broken, unread)
    if only is not None:
        known = {item.path: item for item in labelled}
        labelled = [known.get(path) or _Labelled(path, Path(path).parent.as_posix()) for path in sorted(only)]
        broken, unread = [], []
    entries, unreadable = _probe(folder, labelled, Path(cache_dir) if cache_dir is not None else None)
    broken += unreadable
    warn_left_out([*unread, *broken])
    entries = [e for e in entries if e.rate >= min_rate]
    if not entries:
        lost = [*unread, *broken]
        first = f"{printable(lost[0].path)}: {lost[0].reason}" if lost else ""
        why = f" ({len(lost)} files or folders could not be read, the first: {first})" if lost else ""
        raise DataError(f"{folder}: no audio to use{why}; look at the root, its {MANIFEST_NAME} and the filters")
    return Manifest(folder, tuple(entries), tuple(sorted(broken, key=lambda b: b.path)), tuple(unread))


def warn_left_out(lost: Sequence[Broken]) -> None:
    """Logs a warning for each, past MOST_WARNINGS one for all that are left."""
    shown = lost if len(lost) <= MOST_WARNINGS else lost[: MOST_WARNINGS - 1]
    for b in shown:
        log.warning("left out %s: %s", printable(b.path), printable(b.reason))
    if len(lost) > len(shown):
        log.warning("left out %d more, the last: %s: %s", len(lost) - len(shown), printable(lost[-1].path), lost[-1].reason)


def split_by_speaker(
    manifest: Manifest, holdout: Sequence[str] = (), fraction: float = 0.0, seed: int = 0
) -> tuple[Manifest, Manifest]:
    """Cuts a manifest into (training, validation) so that no (source, speaker) unit is in both.

    `holdout` names units ("source/speaker") or whole sources. With `fraction` instead, whole units are drawn at random
    until they make up at most that share of the seconds (one unit at least). Both left empty, validation is empty.
    Raises DataError for a name that is not there, both ways at once, or a cut that leaves nothing to train on.
    """
    if holdout and fraction:
        raise DataError("validation speakers are given by name or as a fraction, not both")
    units = manifest.units
    if holdout:
        held = _named_units(manifest, holdout)
    elif fraction:
        if not 0 < fraction < 1:
            raise DataError(f"validation fraction {fraction} is not between 0 and 1")
        held = _drawn_units(units, fraction, seed)
    else:
        held = set()
    if len(held) == len(units):
        raise DataError(f"{manifest.root}: holding out {len(held)} of {len(units)} speakers leaves none to train on")
    return manifest.filtered(lambda e: e.unit not in held), manifest.filtered(lambda e: e.unit in held)


def _named_units(manifest: Manifest, holdout: Iterable[str]) -> set[str]:
    held: set[str] = set()
    for name in holdout:
        found = {e.unit for e in manifest.entries if name in (e.unit, e.source)}
        if not found:
            near = difflib.get_close_matches(name, list(manifest.units), n=1, cutoff=0.0)
            raise DataError(f"no speaker {name!r} in {manifest.root}; the nearest is {near[0]!r}")
        held |= found
    return held


def _drawn_units(units: dict[str, float], fraction: float, seed: int) -> set[str]:
    allowed = fraction * sum(units.values())
    names = list(units)
    held: set[str] = set()
    total = 0.0
    for i in np.random.default_rng(seed).permutation(len(names)):
        if total + units[names[i]] <= allowed:
            held.add(names[i])
            total += units[names[i]]
    return held or {min(names, key=lambda n: units[n])}


def _table_path(root: Path, manifest: str) -> Path | None:
    if manifest == "scan":
        return None
    table = root / (MANIFEST_NAME if manifest == "auto" else manifest)
    if os.path.isfile(table):
        return table
    if manifest == "auto":
        return None
    raise DataError(f"{table}: no such manifest; give a tab-separated table, 'auto' or 'scan'")


@dataclasses.dataclass(frozen=True, slots=True)
class _Labelled:
    """A path and what is said about it, before its header was read."""

    path: str
    source: str
    speaker: str = ""
    kind: str = ""
    split: str = ""
    licence: str = ""
    language: str = ""


def _read_table(table: Path, split: str, kind: str) -> list[_Labelled]:
    try:
        with open(table, newline="", encoding="utf-8-sig", errors="surrogateescape") as f:  # names are what the disk holds
            reader = csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = list(reader)
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{table}: can't be read as a table ({e})") from e
    needed = {"path", "source"} | ({"split"} if split else set()) | ({"kind"} if kind else set())
    if missing := needed - set(columns):
        raise DataError(f"{table}: no column {', '.join(sorted(missing))}; the first line names the columns, tab-separated")
    for column, wanted in (("split", split), ("kind", kind)):
        known = sorted({r[column] or "" for r in rows}) if wanted else []
        if wanted and wanted not in known:
            raise DataError(f"{table}: no row has {column} {wanted!r}; there are {', '.join(map(repr, known)) or 'no rows'}")
    found: dict[str, _Labelled] = {}
    for number, r in enumerate(rows, 2):
        if (split and r["split"] != split) or (kind and r["kind"] != kind):
            continue
        path = r["path"] or ""
        if not path or Path(path).is_absolute() or ".." in Path(path).parts:
            raise DataError(f"{table}, line {number}: {path!r} is not a path inside the root")
        labels = {c: r.get(c) or "" for c in ("source", "speaker", "kind", "split", "licence", "language")}
        found[path] = _Labelled(path, **labels)
    return [found[p] for p in sorted(found)]


def _scan(root: Path, source_from: str, speaker_regex: str, broken: list[Broken], unread: list[Broken]) -> list[_Labelled]:
    """What a walk finds; what it can't use is added to `broken` and `unread`."""
    if source_from not in ("parent", "first"):
        raise DataError(f"source_from {source_from!r} is neither 'parent' nor 'first'")
    try:
        pattern = re.compile(speaker_regex) if speaker_regex else None
    except re.error as e:
        raise DataError(f"speaker_regex {speaker_regex!r} is not a regular expression: {e}") from e
    if pattern is not None and not pattern.groups:
        raise DataError(f"speaker_regex {speaker_regex!r} has no group; put the speaker's part into parentheses")
    walked = audio_files(root)
    broken += [Broken(path, reason) for path, reason in walked.left_out]
    unread += [Broken(path, reason) for path, reason in walked.unread]
    found = []
    for path in walked.files:
        parents = path.split("/")[:-1]
        source = "/".join(parents if source_from == "parent" else parents[:1]) or "."
        match = pattern.search(path) if pattern else None
        found.append(_Labelled(path, source, (match[1] or "") if match else ""))
    return found


def _probe(root: Path, labelled: list[_Labelled], cache_dir: Path | None) -> tuple[list[Entry], list[Broken]]:
    """Reads the headers that the cache doesn't know. A row of the cache: path -> [size, mtime_ns, frames, rate, channels] or,
    for a file that can't be read, [size, mtime_ns, reason]."""
    cache_file = cache_dir / f"manifest-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.jsonl" if cache_dir else None
    known = _load_cache(cache_file)
    fresh = dict(known)
    entries: list[Entry] = []
    broken: list[Broken] = []
    for item in labelled:
        path = root / item.path
        try:
            found = os.stat(path)
        except (OSError, ValueError) as e:
            broken.append(Broken(item.path, getattr(e, "strerror", None) or str(e)))
            continue
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would be to wait for whoever writes into it
            broken.append(Broken(item.path, not_regular(found.st_mode)))
            continue
        row = known.get(item.path)
        if row is None or row[:2] != [found.st_size, found.st_mtime_ns]:
            row = fresh[item.path] = [found.st_size, found.st_mtime_ns, *_header(path)]
        if len(row) == 3:
            broken.append(Broken(item.path, row[2]))
            continue
        size, mtime_ns, frames, rate, channels = row
        labels = dataclasses.asdict(item)
        entries.append(Entry(frames=frames, rate=rate, channels=channels, size=size, mtime_ns=mtime_ns, **labels))
    if cache_file and fresh != known:
        _save_cache(cache_file, fresh)
    return entries, broken


def _header(path: Path) -> list[Any]:
    """[frames, rate, channels] of an audio file, or [reason].

    A length that the file does not tell, or tells so that it can't be true, is measured: a flac that was written to a pipe would
    else count as 2^63 frames, and outweigh all others.
    """
    try:
        sf.info(os.fsencode(path))  # names need not be UTF-8
    except (sf.SoundFileError, OSError, RuntimeError) as e:
        reason = f"not readable as audio ({getattr(e, 'error_string', None) or e})"
        if not os.path.getsize(path):
            return ["is empty (0 bytes)"]
        if not _can_be_mended(path):
            return [reason]
    try:
        with AudioReader(path, quick=True) as reader:
            frames, rate, channels = reader.sample_count, reader.sample_rate, reader.channels
            if not reader.sure:
                with warnings.catch_warnings():  # they come again when the file is packed
                    warnings.simplefilter("ignore", AudioWarning)
                    frames = sum(block.shape[-1] for block in reader.blocks())
        if not frames:
            with AudioReader(path):  # empty, or damaged: then this says so
                pass
    except (AudioError, FileError) as e:
        return [reason_of(e, path)]
    return [frames, rate, channels] if frames else ["holds no samples"]


def reason_of(error: Exception, path: Path) -> str:
    """What is wrong with the file, without its name, which stands before it anyway."""
    return str(error).removeprefix(f"{path}: ")


def _can_be_mended(path: Path) -> bool:
    """Whether a file that libsndfile can't read is joined of several, or has a wrong size in its header."""
    try:
        with open(path, "rb") as file:
            parts = survey(Contents(file, own=True), quick=True).parts
    except (OSError, Damage):
        return False
    return len(parts) > 1 or any(part.patches for part in parts)


def _load_cache(path: Path | None) -> dict[str, list[Any]]:
    """The rows of a cache file; none where it is absent, of another version or damaged (then it is built anew)."""
    if path is None or not path.is_file():
        return {}
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        header = json.loads(head)
        if header != {"magic": CACHE_MAGIC, "version": CACHE_VERSION, "crc32": zlib.crc32(body)}:
            raise ValueError("another version, or damaged")
        return {name: row for name, *row in map(json.loads, body.splitlines())}
    except (OSError, ValueError) as e:
        log.warning("manifest cache %s is built anew: %s", path, e)
        return {}


def _save_cache(path: Path, rows: dict[str, list[Any]]) -> None:
    body = "".join(json.dumps([name, *rows[name]]) + "\n" for name in sorted(rows)).encode()
    head = json.dumps({"magic": CACHE_MAGIC, "version": CACHE_VERSION, "crc32": zlib.crc32(body)}).encode()
    with cache_output(path) as f:
        f.write(head + b"\n" + body)


@contextlib.contextmanager
def cache_output(path: Path) -> Iterator[BinaryIO]:
    """A file of the cache, opened to be written: it takes its name only when the block ends well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path) as f:
            yield f
    except (OSError, FileError) as e:
        raise DataError(f"{path}: can't be written; is there room, and may you write there? Else give another cache_dir") from e


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
