"""What the codes of a folder of audio cost under every entropy model, and how fast each codes them.

    python -m mixcodec.evaluate.entropy --data FOLDER [--list FILE] [--model NAME] [--kbps 4] [--tables FILE]

One row a model: bits a code in packets of 64 frames, the saving against packed codes, thousands of codes a second of CPU
time each way, and how many times faster than real time that is at the bitrate asked for. Then, codebook by codebook, what the
tables ask for, between two bounds from the same codes: the entropy of their own counts, which no model that takes codes one by
one can beat on them, and the conditional one given the code before, which is biased low where there are few codes (see
`codebook_use`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import read_audio
from mixcodec.entropy import ENTROPY, ENTROPY_MODELS, ContextTables, EntropyModel, Tables, read_tables
from mixcodec.evaluate.clips import find_clips
from mixcodec.evaluate.codebooks import codebook_use
from mixcodec.runtime import Codec, load
from mixcodec.tokens import code_bits

PACKET_FRAMES = 64

Codes = NDArray[np.int64]


def folder_to_codes(codec: Codec, root: Path, listed: Path | None, kbps: float) -> list[Codes]:
    """The codes (T, K) of every channel of every clip below `root`."""
    clips = []
    for clip in find_clips(root, listed):
        wave, sample_rate = read_audio(root / clip.name)
        tokens = codec.wave_to_tokens(wave, sample_rate, codebooks=codec.codebooks_for(kbps))
        clips += list(tokens.codes.reshape(-1, tokens.frames, tokens.codebooks))
    return clips


def measure(model: EntropyModel, packets: Sequence[Codes]) -> tuple[int, float, float]:
    """The bytes that `packets` (1, t, k) take, and the CPU seconds of coding and of decoding them, all tables at hand.

    Raises:
        AssertionError: the codes do not come back.
    """
    model.encode_packets(packets)
    start = time.process_time()
    coded = model.encode_packets(packets)
    middle = time.process_time()
    books = packets[0].shape[2]
    counts = [np.full(codes.shape[1], books) for codes in packets]
    back = [model.decode(data, count, 1, books) for data, count in zip(coded, counts, strict=True)]
    end = time.process_time()
    if not all(np.array_equal(a, b) for a, b in zip(packets, back, strict=True)):
        raise AssertionError(f"{model.kind}: the codes do not come back")
    return sum(map(len, coded)), middle - start, end - middle


def book_bits(model: ContextTables, packets: Sequence[Codes]) -> list[float]:
    """Bits a code that the tables ask for in each codebook, without what the coder adds at the end of a packet."""
    books = packets[0].shape[2]
    chosen = np.concatenate([model.combinations(codes)[0] for codes in packets])
    codes = np.concatenate([codes[0] for codes in packets])
    bits = []
    for book in range(books):
        spent = 0.0
        for combination in np.unique(chosen[:, book]):
            mine = codes[chosen[:, book] == combination, book]
            spent += float((24 - np.log2(model.frequencies(book, int(combination))[mine])).sum())
        bits.append(spent / len(codes))
    return bits


def report(clips: Sequence[Codes], size: int, tables: Tables | None, frame_rate: float = 50.0) -> str:
    """The two tables of the module's docstring."""
    packets = [clip[None, first : first + PACKET_FRAMES] for clip in clips for first in range(0, len(clip), PACKET_FRAMES)]
    count, packed = sum(codes.size for codes in packets), code_bits(size)
    lines = [
        f"{count} codes in {len(packets)} packets",
        f"{'model':10}{'bits/code':>10}{'saved':>8}{'encode':>9}{'decode':>9}{'real time':>16}",
    ]
    second = frame_rate * packets[0].shape[2]
    for kind in ENTROPY_MODELS.kinds():
        if "tables" in ENTROPY_MODELS.options(kind) and tables is None:
            continue
        model = ENTROPY_MODELS.build(kind, size=size, tables=tables)
        spent, encode, decode = measure(model, packets)
        bits = 8 * spent / count
        speeds = "".join(f"{count / seconds / 1000:8.0f}k" for seconds in (encode, decode))
        times = " / ".join(f"{count / seconds / second:.0f}x" for seconds in (encode, decode))
        lines.append(f"{kind:10}{bits:10.3f}{1 - bits / packed:8.1%}{speeds}{times:>16}")
    spending = book_bits(ContextTables(tables), packets) if tables else []
    lines.append(f"{'codebook':10}{'entropy':>10}{'given code before':>19}{'context':>10}")
    for use in codebook_use("", clips, size, 0):
        mine = f"{spending[use.codebook - 1]:10.3f}" if spending else ""
        lines.append(f"{use.codebook:<10}{use.entropy_bits:10.3f}{use.conditional_bits:19.3f}{mine}")
    return "\n".join(lines)


def main() -> None:
    """The command of the module's docstring."""
    parser = argparse.ArgumentParser(description="Bits a code and speed of every entropy model.")
    parser.add_argument("--data", type=Path, required=True, help="folder of audio files")
    parser.add_argument("--list", type=Path, help="file that names the clips of it to take, one a line")
    parser.add_argument("--model", default="speech-16k", help="name or folder of a model")
    parser.add_argument("--kbps", type=float, default=4.0, help="of each channel")
    parser.add_argument("--tables", type=Path, help=f"another {ENTROPY} than the model's")
    options = parser.parse_args()
    codec = load(options.model)
    path = options.tables or codec.config.folder / ENTROPY
    tables = read_tables(path) if options.tables or path.is_file() else None
    print(report(folder_to_codes(codec, options.data, options.list, options.kbps), codec.codebook_size, tables, codec.frame_rate))


if __name__ == "__main__":
    main()
