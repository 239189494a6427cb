"""A decoder of `.mxc` files written from docs/bitstream.md alone, in plain Python: nothing of the package, no library.

    python tests/bitstream/plain.py FILE [entropy.bin]

prints the facts and the codes of a file as JSON. It is slow and clear: what it accepts and returns is what the page says.
"""

import json
import math
import re
import sys
import zlib
from itertools import pairwise
from pathlib import Path


class Rejected(Exception):
    """What a decoder must reject."""


def demand(condition, what):
    if not condition:
        raise Rejected(what)


def crc16(data):
    register = 0
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ 0x1021) & 0xFFFF if register & 0x8000 else register << 1
    return register


class Bytes:
    """Fields one after the other."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, count):
        demand(self.at + count <= len(self.data), "ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def varint(self, low=0, high=2**49):
        value = 0
        for group in range(7):
            byte = self.number(1)
            value += (byte & 127) << 7 * group
            if byte < 128:
                demand(byte or not group, "longer than its shortest form")
                demand(low <= value <= high, f"{value} is not in {low} to {high}")
                return value
        raise Rejected("varint too long")


def read_header(data):
    fields, facts = Bytes(data), {}
    demand(fields.take(3) == b"mxc", "magic")
    demand(fields.number(1) == 2, "version")
    flags = fields.number(1)
    demand(flags in (0, 1), "flags")
    facts["model"] = fields.take(fields.number(1)).decode("latin-1")
    demand(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", facts["model"]), "name")
    facts["fingerprint"] = fields.take(16).hex()
    facts["sample_rate"] = fields.varint(1000, 768000)
    facts["channels"] = fields.varint(1, 255)
    books, more, most = fields.varint(1, 64), fields.varint(), fields.varint(1, 64)
    facts["codebook_size"] = fields.varint(2, 65536)
    facts["frame_rate"] = (fields.varint(1, 2**20), fields.varint(1, 2**20))
    demand(math.gcd(*facts["frame_rate"]) == 1, "lowest terms")
    frames = fields.varint(1, 4096)
    demand(more < frames and books + (more > 0) <= most, "layout")
    demand(frames * facts["channels"] * most <= 65536, "packets too large")
    facts |= {"codes": books * frames + more, "most": most, "packet_frames": frames, "length": None}
    if flags:
        facts["length"] = read_length(fields)
    facts["coding"] = fields.number(1)
    demand(facts["coding"] >= 1, "coding")
    facts["tables"] = fields.number(4) if facts["coding"] >= 3 else None
    facts["metadata"] = read_metadata(fields.take(fields.varint(0, 65536)))
    end = fields.at
    demand(fields.number(2) == crc16(data[:end]), "check of the header")
    return facts, fields.at


def read_length(fields):
    samples, frames = fields.varint(0, 2**48), fields.varint(0, 2**40)
    demand((samples == 0) == (frames == 0), "length")
    return samples, frames


def read_metadata(data):
    fields, pairs = Bytes(data), []
    while fields.at < len(data):
        key = fields.take(fields.varint(1, 64))
        pairs.append((key, fields.take(fields.varint(0, 65536))))
    keys = [key for key, _ in pairs]
    demand(all(a < b for a, b in pairwise(keys)), "order of the metadata")
    try:
        return {key.decode(): value.decode() for key, value in pairs}
    except UnicodeDecodeError:
        raise Rejected("UTF-8") from None


def read_packet(fields, facts, number):
    """How many codes each frame has, and the payload; None at the end record."""
    start = fields.at
    first = fields.varint()
    if first == 0:
        return None
    size, form = first // 4 - 1, first % 4
    demand(size >= 0 and form < 3, "form")
    frames = fields.varint(1, facts["packet_frames"] - 1) if form == 2 else facts["packet_frames"]
    codes = fields.varint(frames, frames * facts["most"]) if form else facts["codes"]
    demand(form != 1 or codes != facts["codes"], "regular in form 1")
    demand(size <= 64 + 4 * codes * facts["channels"], "payload too large")
    payload = fields.take(size)
    check = crc16(fields.data[start : fields.at]) ^ number % 2**15 ^ 2 * (number % 2**15)
    demand(fields.number(2) == check, f"check of packet {number}")
    books, more = divmod(codes, frames)
    return [books + (frame < more) for frame in range(frames)], payload


def to_frequencies(weights):
    total, room = sum(weights), 2**24 - len(weights)
    frequencies = [1 + weight * room // total for weight in weights]
    frequencies[weights.index(max(weights))] += 2**24 - sum(frequencies)
    return frequencies


class Coder:
    """Takes symbols out of a payload."""

    def __init__(self, payload):
        demand(payload[-1:] != b"\0", "zero byte at the end")
        payload += bytes(-len(payload) % 4)
        self.words = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
        self.state = 0
        self.refill()

    def refill(self):
        while self.state < 2**32 and self.words:
            self.state = self.state * 2**32 + self.words.pop()

    def symbol(self, frequencies):
        low, start, symbol = self.state % 2**24, 0, 0
        while low >= start + frequencies[symbol]:
            start += frequencies[symbol]
            symbol += 1
        self.state = frequencies[symbol] * (self.state // 2**24) + low - start
        self.refill()
        return symbol

    def finish(self):
        demand(self.state == 0 and not self.words, "the payload does not end with its last code")


class Adaptive:
    def __init__(self, size):
        self.fresh = to_frequencies([1] * size)
        self.codes, self.counts, self.known, self.new = [], [], 0, 0

    def take(self, coder):
        place = None
        if self.codes and coder.symbol(to_frequencies([self.new + 1, self.known + 1])):
            place = coder.symbol(to_frequencies(self.counts)) if len(self.codes) > 1 else 0
        code = coder.symbol(self.fresh) if place is None else self.codes[place]
        demand(place is not None or code not in self.codes, "a known code spelt as new")
        if self.known + self.new < 4096:
            if place is None:
                self.codes.append(code)
                self.counts.append(1)
                self.new += 1
            else:
                self.counts[place] += 1
                self.known += 1
        return code


def root64(i):
    value = 2 ** (1920 - i)
    for _ in range(6):
        value = math.isqrt(value)
    return value


POWERS = [root64(i) for i in range(64)]


def read_tables(data):
    """The codebook size, for each codebook its base and contexts, and the checksum."""
    demand(data[:4] == b"mxe\1" and int.from_bytes(data[-4:], "little") == zlib.crc32(data[:-4]), "tables")
    fields, books = Bytes(data, 4), []
    size = fields.number(4)
    for _ in range(fields.number(1)):
        base, contexts = fields.take(size), []
        for _ in range(fields.number(1)):
            back, book, classes = fields.number(1), fields.number(1), fields.number(1)
            class_of = fields.take(size + 1)
            levels = [[int.from_bytes(fields.take(2), "little", signed=True) for _ in range(16)] for _ in range(classes)]
            rows = []
            for c in range(classes):
                halves = [half for byte in fields.take((size + 1) // 2) for half in (byte >> 4, byte & 15)]
                rows.append([levels[c][pick] for pick in halves[:size]])
            contexts.append((back, book, class_of, rows))
        books.append((base, contexts))
    demand(fields.at == len(data) - 4, "size of the tables")
    return size, books, int.from_bytes(data[-4:], "little")


def table_of(book, before, same, contextual, size):
    base, contexts = book
    x = [-4 * step for step in base]
    for back, other, class_of, rows in contexts if contextual else []:
        earlier = before if back else same
        row = rows[class_of[earlier[other] if other < len(earlier) else size]]
        x = [a + b for a, b in zip(x, row, strict=True)]
    steps = [max(x) - value for value in x]
    return to_frequencies([0 if q >= 1984 else POWERS[q % 64] >> q // 64 for q in steps])


def read_codes(payload, counts, facts, tables):
    """[frame][channel][book]"""
    coder, size, coding = Coder(payload), facts["codebook_size"], facts["coding"]
    uniform = to_frequencies([1] * size)
    adaptive = [Adaptive(size) for _ in range(max(counts))]
    before, frames = [[] for _ in range(facts["channels"])], []
    for count in counts:
        frame = []
        for channel in range(facts["channels"]):
            same = []
            for book in range(count):
                if coding == 1:
                    same.append(coder.symbol(uniform))
                elif coding == 2:
                    same.append(adaptive[book].take(coder))
                else:
                    same.append(coder.symbol(table_of(tables[1][book], before[channel], same, coding == 4, size)))
            frame.append(same)
        before = frame
        frames.append(frame)
    coder.finish()
    return frames


def read(data, tables=None):
    """The facts of the header, "samples", and "codes" [frame][channel][book]; Rejected where the page says so."""
    facts, first = read_header(data)
    tables = read_tables(tables) if tables is not None else None
    demand(1 <= facts["coding"] <= 4, "coding")
    demand(facts["coding"] < 3 or (tables is not None and tables[2] == facts["tables"]), "other tables")
    fields, codes, places, short = Bytes(data, first), [], [], False
    while True:
        place = fields.at
        packet = read_packet(fields, facts, len(places))
        if packet is None:
            break
        demand(not short, "a short packet that is not the last")
        short = len(packet[0]) < facts["packet_frames"]
        places.append(place)
        codes += read_codes(packet[1], packet[0], facts, tables)
    samples, frames = facts["length"] or read_length(fields)
    demand(len(codes) == frames and fields.varint() == len(places), "packets")
    seek, at = [], first
    for _ in range(max(0, len(places) - 1) // 16):
        at += fields.varint()
        seek.append(at)
    demand(seek == places[16::16], "seek table")
    demand(fields.number(2) == crc16(data[place : fields.at - 2]), "check of the end record")
    demand(fields.number(4) == zlib.crc32(data[: fields.at - 4]), "check of the file")
    demand(fields.number(3) == len(data) - place <= 2**22 and fields.at == len(data), "size of the end")
    return facts | {"samples": samples, "frames": frames, "packets": len(places), "codes": codes}


if __name__ == "__main__":
    contents = [Path(name).read_bytes() for name in sys.argv[1:3]]
    print(json.dumps(read(*contents)))
