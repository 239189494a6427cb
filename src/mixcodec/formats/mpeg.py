"""MPEG audio (ISO/IEC 11172-3 and 13818-3; mp3 is its layer III): frame after frame, however many a header promises.

Joined files are told apart by the frame with which many encoders begin (Xing's, Info, VBRI, which says how many follow), by tags
between them, or by another sample rate or number of channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from mixcodec.contents import SEARCH_BYTES, Contents
from mixcodec.formats.survey import Part, Survey, harmless, tag_bytes

KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
KBPS[2, 3] = KBPS[2, 2]
HZ = (44100, 48000, 32000)
AGREEING = 3
"""So many frames in a row of one kind, or up to the end of the file, are no chance."""
DECODER_DELAY = 529
"""So many samples of silence at the beginning are left out where a frame says how many follow."""
MOST_FRAME = 1 << 13
TELLERS = (b"Xing", b"Info")
HEAD_BYTES = 192
"""What is looked at of a frame: its header, and what it may tell of the others."""


def _frame_table() -> dict[int, tuple[int, int, int]]:
    """By the second and third byte of a frame: its bytes, its samples, and what all frames of a stream have in common."""
    table = {}
    for second in range(0xE0, 0x100):
        version, layer = {3: 1, 2: 2, 0: 25}.get(second >> 3 & 3, 0), 4 - (second >> 1 & 3)
        if not version or layer == 4:
            continue
        samples = 384 if layer == 1 else 576 if layer == 3 and version > 1 else 1152
        for third in range(0x10, 0xF0):
            if (rate := third >> 2 & 3) == 3:
                continue
            hz = HZ[rate] // {1: 1, 2: 2, 25: 4}[version]
            kbps = KBPS[min(version, 2), layer][third >> 4]
            slot = 4 if layer == 1 else 1
            size = (samples // 8 // slot * kbps * 1000 // hz + (third >> 1 & 1)) * slot
            table[second << 8 | third] = (size, samples, (second & 0xFE) << 8 | rate)
    return table


FRAMES = _frame_table()


@dataclass
class Run:
    """Frames of one stream that follow one another.

    Attributes:
        start, stop: where they lie in the file, a first frame that only tells of the others left out.
        kind: what all of them have in common: version, layer, sample rate, mono or not.
        samples: of a frame.
        head: the first bytes of the first.
        whole: where the frame that tells of the others begins; `start` where there is none.
        promised: how many it says there are; None where nothing says.
        continued: the one before it was broken off by bytes that are no frames.
    """

    start: int
    stop: int
    kind: tuple[int, bool]
    samples: int
    head: bytes
    whole: int
    promised: int | None = None
    frames: int = 0
    continued: bool = False


def survey(contents: Contents, start: int) -> Survey | None:
    """The MPEG audio that begins at `start`, with all that is joined to it; None where there is none."""
    scan = _Scan(contents)
    runs = list(scan.runs(start))
    if not runs:
        return None
    notes = []
    parts = [_part(run) for run in runs]
    if parts[0].start == runs[0].whole:
        parts[0].start = start
    for number, run in enumerate(runs):
        following = list(itertools.takewhile(lambda other: other.continued, runs[number + 1 :]))
        frames = run.frames + sum(other.frames for other in following)
        if run.promised and frames < run.promised:
            notes.append(f"declares {run.promised} frames of {run.samples} samples, but holds {frames}")
    if scan.strays and not notes:
        count, place = sum(count for count, _ in scan.strays), scan.strays[0][1]
        notes.append(f"is damaged: {count} bytes, the first at byte {place}, belong to no frame; what is around them is read")
    if scan.cut and not notes:
        notes.append("ends in the middle of a frame")
    as_promised = runs[-1].promised == runs[-1].frames  # then what is behind is no sound, whatever it is
    stop = contents.size if scan.cut or as_promised else harmless(contents, runs[-1].stop)
    if stop == contents.size and not scan.cut and not parts[-1].patches:
        parts[-1].stop = stop
    return Survey(parts, notes, stop)


def _part(run: Run) -> Part:
    samples = run.frames * run.samples
    plain = Part(run.start, run.stop, samples, DECODER_DELAY)
    if _layer(run.head) == 3:
        plain.instead = Part(run.start, run.stop, head=_telling_frame(run))
    if not run.promised:
        return plain
    before, behind = _added(run.head)  # silence of the encoder, which is cut off as the first frame says
    whole = Part(run.whole, run.stop, samples - before - behind, 2 * DECODER_DELAY, instead=plain.instead)
    if run.promised != run.frames:
        whole.patches = _corrections(run)
        whole.samples = samples - before - DECODER_DELAY
    return whole if _teller(run.head) else plain


def _corrections(run: Run) -> list[tuple[int, bytes]]:
    """What the first frame is to say: as many frames and bytes as there are, and no more silence behind than decoders add."""
    place = run.whole + _teller(run.head)
    flags = run.head[place - run.whole + 7]
    corrections = [(place + 8, run.frames.to_bytes(4, "big"))]
    if flags & 2:
        corrections.append((place + 12, (run.stop - run.whole).to_bytes(4, "big")))
    if any(_added(run.head)):
        told = run.head[_encoder_place(run.head) + 21 :]
        corrections.append(
            (run.whole + _encoder_place(run.head) + 22, bytes([told[1] & 0xF0 | DECODER_DELAY >> 8, DECODER_DELAY & 0xFF]))
        )
    return corrections


def _telling_frame(run: Run) -> bytes:
    """A frame that says how many follow it: where libsndfile's guess is too low, it would read no further."""
    second, third = run.head[1] | 1, 0x90 | run.head[2] & 0x0C
    frame = bytearray(FRAMES[second << 8 | third][0])
    frame[:4] = bytes([0xFF, second, third, run.head[3]])
    place = 4 + _side_bytes(run.head)
    frame[place : place + 12] = b"Info" + (1).to_bytes(4, "big") + run.frames.to_bytes(4, "big")
    return bytes(frame)


def _layer(head: bytes) -> int:
    return 4 - (head[1] >> 1 & 3)


def _side_bytes(head: bytes) -> int:
    mono, first = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    return (17 if mono else 32) if first else (9 if mono else 17)


def _teller(head: bytes) -> int:
    """Where in a frame's bytes it begins to tell of the others, as Xing's programs do; 0 where it does not."""
    place = 4 + _side_bytes(head)
    return next((at for at in (place, place + 2) if head[at : at + 4] in TELLERS), 0)  # behind a checksum, two bytes later


def _promise(head: bytes) -> int | None:
    """How many frames this one says follow it, 0 where it does not know; None where it is a frame as any other."""
    if place := _teller(head):
        return int.from_bytes(head[place + 8 : place + 12], "big") if head[place + 7] & 1 else 0
    if head[36:40] == b"VBRI":
        return int.from_bytes(head[50:54], "big")
    return None


def _encoder_place(head: bytes) -> int:
    """Where in a frame that tells of the others it names its encoder."""
    place = _teller(head)
    flags = head[place + 7] if place else 0
    return place + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2


def _added(head: bytes) -> tuple[int, int]:
    """How many samples of silence the encoder added before and behind the sound, as its first frame says."""
    place = _encoder_place(head)
    told = head[place : place + 24]
    if len(told) < 24 or not told[0]:
        return 0, 0
    return divmod(int.from_bytes(told[21:24], "big"), 1 << 12)


class _Scan:
    """Finds the frames of a file.

    Attributes:
        strays: how many bytes, and where, lie among the frames and are neither frame nor tag.
        cut: the last frame is not all there.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._block, self._start = b"", 0
        self.strays: list[tuple[int, int]] = []
        self.cut = False

    def runs(self, place: int) -> Iterator[Run]:
        """The runs of frames from `place` on."""
        run: Run | None = None
        broken = False
        while place < self._contents.size:
            head = self._at(place, HEAD_BYTES)
            if len(head) < 4 and head[:1] == b"\xff":
                self.cut = True
                break
            frame = self._frame(head)
            if frame is None or not ((run and run.kind == frame[2]) or self._agree(place, frame[2])):
                tag = tag_bytes(self._contents, place)
                found = None if tag else self._next(place, run)
                if run:
                    yield run
                    broken = found is not None
                    if found is not None and run.promised != run.frames:
                        self.strays.append((found - place, place))
                    run = None
                if not tag and found is None:
                    return
                place += tag or (found or 0) - place
                continue
            size, samples, kind = frame
            promise = _promise(head)
            if run and (run.kind != kind or promise is not None):
                yield run
                run, broken = None, False
            if place + size > self._contents.size:
                self.cut = True
                break
            if run is None:
                first = place + size if promise is not None else place
                run = Run(first, first, kind, samples, head, place, promise, continued=broken)
            if promise is None:
                run.frames += 1
            run.stop = place = self._go_on(run, place + size)
        if run:
            yield run

    def _go_on(self, run: Run, place: int) -> int:
        """Where the frames end that go on as the run does, as far as they have been read. In a file of hours they are many."""
        block, start, (common, mono), frames = self._block, self._start, run.kind, FRAMES
        at, last = place - start, len(block) - MOST_FRAME
        while 0 <= at < last and block[at] == 0xFF:
            frame = frames.get(block[at + 1] << 8 | block[at + 2])
            if frame is None or frame[2] != common or (block[at + 3] >> 6 == 3) is not mono:
                break
            told = block[at + 13 : at + 42]
            if TELLERS[0] in told or TELLERS[1] in told or b"VBRI" in told:
                break
            at += frame[0]
            run.frames += 1
        return start + at

    def _next(self, place: int, run: Run | None) -> int | None:
        """Where the next frame begins, behind bytes that belong to none."""
        for start, block in self._contents.blocks(place + 1, self._contents.size if run else place + SEARCH_BYTES):
            at = -1
            while (at := block.find(b"\xff", at + 1)) >= 0:
                frame = self._frame(self._at(start + at, HEAD_BYTES))
                if frame and self._agree(start + at, frame[2]):
                    return start + at
        return None

    def _agree(self, place: int, kind: tuple[int, bool]) -> bool:
        """Whether some frames of one kind follow one another from `place` on."""
        for count in range(AGREEING):
            head = self._at(place, HEAD_BYTES)
            frame = self._frame(head)
            if frame is None or frame[2] != kind:
                return count > 0 and (place >= self._contents.size or tag_bytes(self._contents, place) > 0)
            place += frame[0]
        return True

    def _frame(self, head: bytes) -> tuple[int, int, tuple[int, bool]] | None:
        if len(head) < 4 or head[0] != 0xFF:
            return None
        found = FRAMES.get(head[1] << 8 | head[2])
        return found and (found[0], found[1], (found[2], head[3] >> 6 == 3))

    def _at(self, place: int, count: int) -> bytes:
        first = place - self._start
        at_end = self._start + len(self._block) == self._contents.size
        if first < 0 or (first + count > len(self._block) and not at_end):
            self._start, self._block = place, self._contents.at(place, SEARCH_BYTES)
            first = 0
        return self._block[first : first + count]
