"""Made speech: sentences of the documents on this machine, read aloud by a text-to-speech system from a package.

    python -m mixcodec.data.made OUT --hours 8
    python -m mixcodec.data.made OUT --texts sentences.txt

One English voice (hibari-tts, Apache-2.0: `pip install --no-deps hibari-tts`; its weights are in the package), clean, at 24 kHz,
some thirty times faster than it is spoken.
It widens a corpus of real speech; a codec is never judged by it as if it were real.
OUT becomes a corpus: FLAC files below OUT/train/speech/hibari-tts, each with its text beside it, and OUT/manifest.tsv.
A file is named after its text, so a run that was stopped goes on, and the same texts give the same files.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mixcodec.errors import DataError, FileError, MixcodecError
from mixcodec.files import atomic_output

SOURCE, LICENCE = "hibari-tts", "Apache-2.0 (synthetic)"
PLACES = ("/usr/share/common-licenses", "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3")
"""Where documents are looked for: texts of licences, manuals of packages."""
SUFFIXES = ("", ".txt", ".md", ".rst", ".pod", ".html", ".gz")
SENTENCE = re.compile(r"[A-Z][A-Za-z',;:\- ]{25,180}[a-z][.?!]")
"""What is read: letters and the usual marks, no numbers, no code."""
MOST_A_FILE = 200
"""Sentences of one document, so that a long one does not fill the corpus."""
SPEEDS = (0.85, 1.2)
MANIFEST = ("path", "seconds", "rate", "kind", "source", "speaker", "split", "licence")


def sentences(places: Iterable[str | Path] = PLACES) -> Iterator[str]:
    """English sentences of the documents below `places`, each once, in the order of the documents' paths."""
    seen: set[str] = set()
    for place in places:
        for path in sorted(Path(place).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file():
                continue
            count = 0
            paragraphs = (" ".join(lines.split()) for lines in re.split(r"\n\s*\n", _text(path)))
            for sentence in itertools.chain.from_iterable(map(SENTENCE.findall, paragraphs)):
                words = sentence.split()
                plain = sum(word.strip(".,;:?!").islower() for word in words) >= 0.6 * len(words)
                if 6 <= len(words) <= 30 and plain and sentence.lower() not in seen and count < MOST_A_FILE:
                    seen.add(sentence.lower())
                    count += 1
                    yield sentence


def _text(path: Path) -> str:
    import gzip

    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, ValueError):
        return ""
    text = raw[: 1 << 20].decode("utf-8", "replace")
    return re.sub(r"<[^>]*>", " ", text) if path.suffix == ".html" else text


def read_aloud(texts: Iterable[str], folder: Path, hours: float, part: tuple[int, int] = (0, 1)) -> float:
    """Writes `texts` as speech below `folder` until it holds `hours`; gives the hours that are there.

    `part` (i, n) reads every n-th text from the i-th on: n processes share the work. Raises DataError without hibari-tts.
    """
    try:
        from hibari import Hibari
    except ImportError as error:
        raise DataError(f"made speech needs hibari-tts ({error}); pip install --no-deps hibari-tts") from None
    import soundfile

    voice, seconds = Hibari(threads=1), 0.0
    for number, text in enumerate(texts):
        if seconds >= 3600 * hours / part[1]:
            break
        if number % part[1] != part[0]:
            continue
        key = hashlib.sha256(text.encode()).hexdigest()
        path = folder / "train" / "speech" / SOURCE / key[:2] / f"{key[:16]}.flac"
        if not path.is_file():
            rng = np.random.default_rng(int(key[:15], 16))
            wave = voice(text, speed=float(rng.uniform(*SPEEDS)), seed=int(rng.integers(1 << 31)))
            if len(wave) < voice.sample_rate // 2:
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
                with atomic_output(path) as file:
                    soundfile.write(file, np.clip(wave, -1, 1), voice.sample_rate, format="FLAC", subtype="PCM_16")
            except OSError as error:
                raise FileError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
        seconds += soundfile.info(path).duration
    return seconds / 3600


def write_manifest(folder: Path) -> int:
    """Writes folder/manifest.tsv of all that is there; gives the number of files."""
    import io

    import soundfile

    rows = []
    for path in sorted(folder.rglob("*.flac")):
        info = soundfile.info(path)
        rows.append(
            [path.relative_to(folder), f"{info.duration:.2f}", info.samplerate, "speech", SOURCE, "heart", "train", LICENCE]
        )
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(MANIFEST)
    table.writerows(rows)
    with atomic_output(folder / "manifest.tsv") as file:
        file.write(text.getvalue().encode())
    return len(rows)


def main(argv: list[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mixcodec.data.made", description="Speech made from text, as a corpus.")
    parser.add_argument("out", type=Path, help="folder of the corpus")
    parser.add_argument("--hours", type=float, default=8.0, help="hours of speech to make (default 8)")
    parser.add_argument("--texts", type=Path, help="a text file with one sentence a line, instead of this machine's documents")
    parser.add_argument("--places", nargs="+", default=PLACES, help="folders whose documents are read")
    parser.add_argument("--part", default="0/1", help="i/n: read every n-th sentence from the i-th on, for n processes")
    asked = parser.parse_args(argv)
    try:
        i, n = (int(word) for word in asked.part.split("/"))
        if not 0 <= i < n or not asked.hours > 0:
            raise ValueError
    except ValueError:
        parser.error("--part is i/n with 0 <= i < n, and --hours is above 0")
    try:
        if asked.texts:
            try:
                texts: Iterable[str] = [line.strip() for line in asked.texts.read_text("utf-8").splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise FileError(f"{asked.texts}: cannot be read ({error}); give a text file, one sentence a line") from None
        else:
            texts = sentences(asked.places)
        hours = read_aloud(texts, asked.out, asked.hours, (i, n))
        print(f"{asked.out}: {write_manifest(asked.out)} files, {hours:.2f} hours read by this process")
    except MixcodecError as error:
        print(f"mixcodec: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
