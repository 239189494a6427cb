"""A manifest -> one flat file of 16-bit samples at one rate, read through a memory map.

Decoding and resampling thousands of small files in every epoch would cost more than the training step; packed once, a random
clip is a slice. Two files beside each other in the cache folder, named after the manifest's cache key and the rate:

- `store-KEY-RATE.npy`: int16, one dimension, mono, all clips end to end (`np.load(..., mmap_mode="r")` reads it);
- `store-KEY-RATE.json`: magic, version, rate, number of samples, and a row a clip: path, offset, length, crc32, source,
  speaker; then the files that turned out unreadable. A crc32 covers the rows.

The index is written last, so a store without one is no store, and a killed build leaves nothing that could be mistaken for one.
"""

import concurrent.futures as cf
import dataclasses
import itertools
import json
import logging
import multiprocessing
import os
import sys
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soxr

from mixcodec.audio import AudioReader, NotFiniteError
from mixcodec.data.manifest import Broken, Entry, Manifest, cache_output, reason_of, unit_name, warn_left_out
from mixcodec.errors import AudioWarning, DataError, MixcodecError
from mixcodec.folders import printable

log = logging.getLogger(__name__)

MAGIC = "mixcodec-store"
VERSION = 1
BLOCK_SECONDS = 30
TRIM_DB = -50.0
MARGIN_SECONDS = 0.1
CHUNK = 16
FEW = 64  # so few files are packed faster without starting processes

Samples = npt.NDArray[np.int16]
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """Where one file's samples lie in the store."""

    path: str
    offset: int
    samples: int
    crc32: int
    source: str
    speaker: str

    @property
    def unit(self) -> str:
        return unit_name(self.source, self.speaker)


@dataclasses.dataclass(frozen=True)
class Store:
    """Clips of one sample rate. A subset shares the samples of the whole."""

    data: Samples  # (samples,), memory-mapped
    sample_rate: int
    clips: tuple[Clip, ...]
    broken: tuple[Broken, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def seconds(self) -> float:
        return sum(c.samples for c in self.clips) / self.sample_rate

    def clip(self, index: int) -> npt.NDArray[np.float32]:
        """(N,) samples of one clip in [-1, 1)."""
        c = self.clips[index]
        return self.data[c.offset : c.offset + c.samples].astype(np.float32) * np.float32(1 / 32768)

    def subset(self, manifest: Manifest) -> "Store":
        """The store of only the clips that `manifest` lists."""
        wanted = {e.path for e in manifest.entries}
        return dataclasses.replace(self, clips=tuple(c for c in self.clips if c.path in wanted))

    def damaged(self) -> list[str]:
        """Paths of the clips whose samples no longer have the checksum they were packed with (reads everything)."""
        return [c.path for c in self.clips if zlib.crc32(self.data[c.offset : c.offset + c.samples].tobytes()) != c.crc32]


def open_store(
    manifest: Manifest,
    sample_rate: int,
    cache_dir: str | os.PathLike[str],
    *,
    processes: int = 2,
    progress: Progress | None = None,
) -> Store:
    """The packed store of a manifest at `sample_rate` Hz: the cached one, or one packed now.

    Clips are mixed to mono, resampled (soxr HQ), and trimmed of silence at both ends down to 0.1 s. Files that fail while
    being decoded stand in `.broken` and are logged. `progress(done, total)` is called after each file; None shows a bar
    where standard error is a terminal. Raises DataError where no file could be packed or the cache can't be written.
    """
    if sample_rate <= 0:
        raise DataError(f"sample rate {sample_rate} Hz is not positive")
    stem = Path(cache_dir) / f"store-{manifest.cache_key[:16]}-{sample_rate}"
    store = _load(stem, sample_rate)
    if store is None:
        _pack(manifest, sample_rate, stem, processes, progress)
        store = _load(stem, sample_rate)
        if store is None:
            raise DataError(f"{stem}.npy: changed while it was read; is the cache folder being cleaned?")
    warn_left_out(store.broken)
    return store


def decode(path: Path, sample_rate: int) -> Samples:
    """(N,) mono int16 samples of an audio file at `sample_rate`, silence at both ends trimmed to 0.1 s.

    Block by block, so an hour of stereo never stands in memory as floats. Raises ValueError where there is nothing to use,
    AudioError or FileError where it can't be read, or sound is missing in the middle; where it is at the end, that is logged."""
    with AudioReader(path) as reader, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AudioWarning)
        native = reader.sample_rate
        resampler = soxr.ResampleStream(native, sample_rate, 1, dtype="float32") if native != sample_rate else None
        parts = []
        for block in reader.blocks(BLOCK_SECONDS * native):
            mono = block if block.ndim == 1 else np.ascontiguousarray(block.mean(axis=0))
            parts.append(_quantize(resampler.resample_chunk(mono) if resampler else mono))
        if resampler:
            parts.append(_quantize(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    for warning in said:
        log.warning("%s", printable(str(warning.message)))
    return _trim(np.concatenate(parts) if parts else np.zeros(0, np.int16), sample_rate)


def _quantize(wave: npt.NDArray[np.float32]) -> Samples:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def _trim(samples: Samples, sample_rate: int) -> Samples:
    """Cuts both ends where 20 ms frames stay 50 dB under the loudest, less a margin of 0.1 s."""
    frame = max(1, sample_rate // 50)
    count = -(-len(samples) // frame)
    power = np.array([np.square(samples[i * frame : (i + 1) * frame].astype(np.float32)).mean() for i in range(count)])
    if not len(power) or power.max() < 1:
        raise ValueError("is silent" if len(power) else "holds no samples")
    loud = np.flatnonzero(power > power.max() * 10 ** (TRIM_DB / 10))
    margin = int(MARGIN_SECONDS * sample_rate)
    return samples[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]


def _decode_chunk(job: tuple[Path, list[str], int]) -> list[Samples | str]:
    """The samples of each file of a chunk, or the reason why there are none."""
    root, paths, sample_rate = job
    out: list[Samples | str] = []
    for path in paths:
        try:
            out.append(decode(root / path, sample_rate))
        except NotFiniteError:
            out.append("holds NaN or infinite samples")
        except (MixcodecError, OSError, RuntimeError) as e:
            out.append(f"can't be decoded ({reason_of(e, root / path)})")
        except ValueError as e:
            out.append(str(e))
    return out


def _decoded(manifest: Manifest, sample_rate: int, processes: int) -> Iterator[tuple[Entry, Samples | str]]:
    """All entries in order with their samples; only a few chunks are under way at a time, so memory stays bounded."""
    chunks = [manifest.entries[i : i + CHUNK] for i in range(0, len(manifest.entries), CHUNK)]
    jobs = ((manifest.root, [e.path for e in chunk], sample_rate) for chunk in chunks)
    if processes < 2 or len(manifest.entries) <= FEW:
        for chunk, job in zip(chunks, jobs, strict=True):
            yield from zip(chunk, _decode_chunk(job), strict=True)
        return
    # spawn: a fork of a process in which torch has started threads may hang
    with cf.ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque[cf.Future[list[Samples | str]]] = deque()
        for chunk in chunks:
            for job in itertools.islice(jobs, 4 * processes - len(waiting)):
                waiting.append(pool.submit(_decode_chunk, job))
            yield from zip(chunk, waiting.popleft().result(), strict=True)


def _pack(manifest: Manifest, sample_rate: int, stem: Path, processes: int, progress: Progress | None) -> None:
    clips: list[Clip] = []
    broken: list[Broken] = []
    offset = 0
    with cache_output(stem.with_suffix(".npy")) as f, _Bar(len(manifest.entries), progress) as advance:
        start = _write_header(f, 0)
        for entry, samples in _decoded(manifest, sample_rate, processes):
            if isinstance(samples, str):
                broken.append(Broken(entry.path, samples))
            else:
                raw = samples.astype("<i2").tobytes()
                f.write(raw)
                clips.append(Clip(entry.path, offset, len(samples), zlib.crc32(raw), entry.source, entry.speaker))
                offset += len(samples)
            advance()
        if not clips:
            first = f"{printable(broken[0].path)} {broken[0].reason}"
            raise DataError(f"{manifest.root}: none of {len(broken)} files can be used; the first: {first}")
        f.seek(0)
        if _write_header(f, offset) != start:
            raise RuntimeError("the .npy header changed its length")
    rows = {"clips": [dataclasses.astuple(c) for c in clips], "broken": [dataclasses.astuple(b) for b in broken]}
    index = {"magic": MAGIC, "version": VERSION, "sample_rate": sample_rate, "samples": offset, "crc32": _crc(rows), **rows}
    with cache_output(stem.with_suffix(".json")) as f:
        f.write(json.dumps(index).encode())


def _load(stem: Path, sample_rate: int) -> Store | None:
    """The store at `stem`, or None where it is absent, damaged or of another version (then it is packed anew)."""
    index_file, data_file = stem.with_suffix(".json"), stem.with_suffix(".npy")
    if not index_file.is_file():
        return None
    try:
        index = json.loads(index_file.read_bytes())
        rows = {"clips": index["clips"], "broken": index["broken"]}
        if (index["magic"], index["version"], index["sample_rate"]) != (MAGIC, VERSION, sample_rate):
            raise ValueError("another version")
        if index["crc32"] != _crc(rows):
            raise ValueError("the index is damaged")
        data = np.load(data_file, mmap_mode="r", allow_pickle=False)
        if data.dtype != np.int16 or data.shape != (index["samples"],):
            raise ValueError("samples and index don't belong together")
    except (OSError, ValueError, KeyError, TypeError) as e:
        log.warning("store %s is packed anew: %s", stem, e)
        return None
    return Store(data, sample_rate, tuple(Clip(*c) for c in rows["clips"]), tuple(Broken(*b) for b in rows["broken"]))


def _crc(rows: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(rows).encode())


def _write_header(f: BinaryIO, samples: int) -> int:
    np.lib.format.write_array_header_1_0(f, {"descr": "<i2", "fortran_order": False, "shape": (samples,)})
    return f.tell()


class _Bar:
    """A progress bar on standard error if that is a terminal, else nothing; or the caller's own function."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.done, self.progress, self.rich = total, 0, progress, None
        if progress is None and sys.stderr.isatty():
            import rich.console
            import rich.progress

            self.rich = rich.progress.Progress(console=rich.console.Console(stderr=True), transient=True)

    def __enter__(self) -> Callable[[], None]:
        if self.rich:
            self.rich.start()
            self.task = self.rich.add_task("packing audio", total=self.total)
        return self.advance

    def advance(self) -> None:
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)
        if self.rich:
            self.rich.advance(self.task)

    def __exit__(self, *exc: object) -> None:
        if self.rich:
            self.rich.stop()
