"""Mutated `.mxc` files: every way of reading them must end in an error of the package, or in codes whose checks are right.

    python tests/bitstream/fuzz.py --runs 100000 [--seed N]
    python tests/bitstream/fuzz.py --atheris [options of libFuzzer, such as -runs=100000]     (needs pip install atheris)

Two of three mutants get their checksums repaired, so that what stands behind these is reached. A run fails at an exception that
is no MixcodecError, at LIMIT_SECONDS, at LIMIT_BYTES of memory that Python and numpy hold at once, and where a mutant
without repaired checksums gives other codes than the file it came from. The input that did it is kept in fuzz-failure.mxc.
"""

import argparse
import binascii
import random
import sys
import time
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from mixcodec.bitstream import MxcReader, PacketStream, coding_for, rescued_packets
from mixcodec.bitstream.container import decoded_packets
from mixcodec.bitstream.header import parse_header
from mixcodec.bitstream.packet import NUMBERS, parse_packet_start
from mixcodec.bitstream.varint import Fields
from mixcodec.errors import BitstreamError, MixcodecError

LIMIT_SECONDS = 10.0
LIMIT_BYTES = 64 << 20
MEASURED = 100
"""Memory is measured in one of so many runs: that takes time."""
MOST_CODES = 1 << 18
"""So many codes of a file are decoded, no more: few bytes can stand for very many."""
INTERESTING = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 63, 64, 65, 127, 128, 255]


def repaired(data: bytes) -> bytes:
    """`data` with right checksums for its header, for each packet from the start on, for its end record and for all of it."""
    file = bytearray(data)
    try:
        end = _header_end(data)
    except BitstreamError:
        return data
    file[end : end + 2] = binascii.crc_hqx(bytes(file[:end]), 0).to_bytes(2, "little")
    try:
        header, position = parse_header(bytes(file))
    except BitstreamError:
        return bytes(file)
    number = 0
    try:
        while start := parse_packet_start(header, bytes(file[position : position + 32])):
            last = position + start.whole - 2
            if last + 2 > len(file):
                raise BitstreamError
            check = binascii.crc_hqx(bytes(file[position:last]), 0) ^ number % NUMBERS ^ number % NUMBERS << 1
            file[last : last + 2] = check.to_bytes(2, "little")
            number, position = number + 1, last + 2
    except BitstreamError:  # what follows is no packet: the end is found from the end alone
        file[-7:-3] = zlib.crc32(bytes(file[:-7])).to_bytes(4, "little")
        return bytes(file)
    if len(file) - position < 10:
        return bytes(file)
    file[-3:] = (len(file) - position).to_bytes(3, "little")
    file[-9:-7] = binascii.crc_hqx(bytes(file[position:-9]), 0).to_bytes(2, "little")
    file[-7:-3] = zlib.crc32(bytes(file[:-7])).to_bytes(4, "little")
    return bytes(file)


def forge(data: bytes, start: int, stop: int, new: bytes) -> bytes:
    """`data` with `new` instead of its bytes from `start` to `stop`, and right checksums."""
    return repaired(data[:start] + new + data[stop:])


def _header_end(data: bytes) -> int:
    """Where the checksum of the header stands, by the sizes in it alone."""
    fields = Fields(data, 4)
    flags = fields.byte()
    fields.take(fields.byte() + 16)
    for _ in range(9 + 2 * (flags & 1)):
        fields.number()
    if fields.byte() >= 3:
        fields.take(4)
    fields.take(fields.number())
    return fields.position


def mutant(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """`data` with a few changes."""
    file = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        place = chance.randrange(len(file) + 1)
        if chance.random() < 0.5:  # near the beginning or the end
            place = min(len(file), chance.randrange(60)) if chance.random() < 0.6 else max(0, len(file) - chance.randrange(24))
        stop = min(len(file), place + chance.choice([1, 1, 2, 5, 20, 100]))
        kind = chance.randrange(8)
        if kind == 0 and place < len(file):
            file[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(file):
            file[place] = chance.choice(INTERESTING)
        elif kind == 2 and place < len(file):
            file[place] = chance.randrange(256)
        elif kind == 3:
            del file[place:stop]
        elif kind == 4:
            file[place:place] = file[place:stop]
        elif kind == 5:
            file[place:place] = chance.randbytes(stop - place)
        elif kind == 6:
            other = chance.choice(others)
            there = chance.randrange(len(other))
            file[place:stop] = other[there : there + chance.randrange(1, 60)]
        elif kind == 7:
            file[place:stop] = bytes([0x80 | chance.randrange(128)] * chance.randrange(1, 8)) + bytes([chance.randrange(1, 128)])
    return bytes(file)


def read_every_way(data: bytes, tables: object) -> list[np.ndarray] | None:
    """The codes of each packet if the whole file is intact, else None. Raises what is no MixcodecError."""
    codes = None
    try:
        reader = MxcReader(BytesIO(data), "mutant")
        coding = coding_for(reader.header, tables)
    except MixcodecError:
        coding = None
    if coding is not None:
        try:
            reader.verify()
            codes = limited(decoded_packets(reader, coding, reader.packets()))
        except MixcodecError:
            pass
        try:
            end = reader.end()
            for first in {0, 1, 15, 16, 17, end.packets - 1, end.packets}:
                for packet in reader.packets(max(0, first), first + 2):
                    list(decoded_packets(reader, coding, [packet]))
        except MixcodecError:
            pass
        last = -1
        for count, packet in enumerate(rescued_packets(reader)):
            if packet.index <= last:
                raise AssertionError("rescued packets go backwards")
            last = packet.index
            try:
                if count < 100:
                    list(decoded_packets(reader, coding, [packet]))
            except MixcodecError:
                pass
    try:
        stream = PacketStream(BytesIO(data))
        whole = sum(1 for _ in stream)
        if codes is None and coding is not None and whole > 0 and stream.end is not None:
            list(limited(decoded_packets(reader, coding, reader.packets())))  # what is wrong is a payload, or nothing
    except MixcodecError:
        if codes is not None:
            raise AssertionError("a stream refuses what a file is read from") from None
    return codes


def limited(packets: object) -> list[np.ndarray]:
    found, size = [], 0
    for codes in packets:
        found.append(codes)
        size += codes.size
        if size > MOST_CODES:
            break
    return found


def check(data: bytes, tables: object, original: list[np.ndarray] | None, measure: bool) -> str:
    """What is wrong with how `data` is read; empty for nothing. `original`: the codes of an intact file, if it must be that."""
    start = time.process_time()
    if measure:
        tracemalloc.start()
    try:
        codes = read_every_way(data, tables)
        peak = tracemalloc.get_traced_memory()[1] if measure else 0
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if measure:
            tracemalloc.stop()
    if peak > LIMIT_BYTES:
        return f"{peak} bytes"
    if time.process_time() - start > LIMIT_SECONDS:
        return f"{time.process_time() - start:.1f} s"
    if codes is not None and original is not None:
        same = len(codes) == len(original) and all(np.array_equal(a, b) for a, b in zip(codes, original, strict=True))
        return "" if same else "other codes, and no error"
    return ""


def corpus() -> tuple[list[bytes], object]:
    sys.path.insert(0, str(Path(__file__).parent))
    import samples

    return [path.read_bytes() for path in sorted(samples.GOLDEN.glob("*.mxc"))], samples.tables()


def fuzz(runs: int, seed: int) -> int:
    """Mutants of the golden files; returns how many were read as intact. Raises AssertionError."""
    chance = random.Random(seed)
    files, tables = corpus()
    codes = [read_every_way(data, tables) for data in files]
    intact, slowest = 0, 0.0
    for run in range(runs):
        index = chance.randrange(len(files))
        data = mutant(files[index], files, chance)
        mended = run % 3 > 0
        data = repaired(data) if mended else data
        start = time.process_time()
        wrong = check(data, tables, None if mended else codes[index], run % MEASURED == 0)
        slowest = max(slowest, time.process_time() - start)
        if wrong:
            Path("fuzz-failure.mxc").write_bytes(data)
            raise AssertionError(f"run {run} of seed {seed}: {wrong}; see fuzz-failure.mxc")
        intact += mended and is_valid(data)
    print(f"{runs} runs, {intact} mutants valid by their repaired checksums, slowest {slowest:.2f} s, no failure")
    return intact


def is_valid(data: bytes) -> bool:
    try:
        MxcReader(BytesIO(data), "mutant").verify()
    except MixcodecError:
        return False
    return True


def fuzz_with_atheris(options: list[str]) -> None:
    import atheris

    files, tables = corpus()
    atheris.instrument_all()

    def one(data: bytes) -> None:
        for file in (data, repaired(data)):
            if wrong := check(file, tables, None, False):
                raise AssertionError(wrong)

    folder = Path("fuzz-corpus")
    folder.mkdir(exist_ok=True)
    for index, data in enumerate(files):
        (folder / f"golden-{index}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options, "-max_len=4096", str(folder)], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutated .mxc files.")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    options, rest = parser.parse_known_args()
    if options.atheris:
        fuzz_with_atheris(rest)
    elif rest:
        parser.error(f"unknown options {rest}")
    else:
        fuzz(options.runs, options.seed)


if __name__ == "__main__":
    main()
