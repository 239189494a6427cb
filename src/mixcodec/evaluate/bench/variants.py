"""A variant of a model beside its plain graphs: what it gains and what it changes.

    python -m mixcodec.evaluate.bench.variants speech-16k int8 --data corpus --list eval60.txt

Warm speed is that of one process and one thread, the two in turn: whole clips, and a stream given frame by frame. Cold are whole
processes of `mixcodec encode`, the base being what any of them has to import. Over the clips of --data: the share of codes that
are those of the plain graphs, codebook by codebook, and how far the variant's wave of the plain codes lies below that of the
plain graphs. What it costs in quality: mixcodec eval --codecs mixcodec:speech-16k@3 mixcodec:speech-16k:int8@3 ...
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixcodec.audio import Wave
from mixcodec.errors import MixcodecError, UsageError
from mixcodec.evaluate.bench.machine import describe_machine
from mixcodec.evaluate.bench.process import environment, timed_process
from mixcodec.evaluate.bench.results import Sample, spread
from mixcodec.evaluate.bench.run import BASE_IMPORT
from mixcodec.evaluate.bench.signal import clip, synthetic_voice, write_looped
from mixcodec.evaluate.bench.speed import interleave
from mixcodec.evaluate.bench.subjects import COMMAND
from mixcodec.evaluate.bench.table import markdown, number
from mixcodec.evaluate.clips import find_clips
from mixcodec.models import PLAIN
from mixcodec.runtime import Codec, load
from mixcodec.temporary import temporary_folder

STREAM_SECONDS = 4.0
Call = Callable[[], object]


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mixcodec.evaluate.bench.variants", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model or a model folder")
    parser.add_argument("variant", help="int8 or bf16")
    parser.add_argument("--data", type=Path, help="folder with clips for the comparison of codes and waves")
    parser.add_argument("--list", type=Path, help="text file with the clips to take, one path below the folder a line")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0], help="lengths for warm speed")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cold", type=int, default=9, help="processes of each kind; 0 for none")
    options = parser.parse_args(arguments)
    try:
        plain, variant = load(options.model, variant=PLAIN), load(options.model, variant=options.variant)
        if options.repeats < 1 or min(options.seconds) <= 0 or options.cold < 0:
            raise UsageError("--repeats and --seconds must be positive, and --cold not negative")
        machine = describe_machine()
        print(f"{plain.name} {plain.fingerprint}, {variant.variant} beside {PLAIN}, one thread of {machine['cpu']}\n")
        print(markdown(warm_rows(plain, variant, options.seconds, options.repeats)))
        if options.cold:
            print(f"\n{markdown(cold_rows(options.model, variant, options.cold))}")
        if options.data:
            waves = [clip(options.data / each.name, plain.sample_rate) for each in find_clips(options.data, options.list)]
            print(f"\n{markdown(same_rows(plain, variant, waves))}")
    except MixcodecError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def warm_rows(plain: Codec, variant: Codec, lengths: list[float], repeats: int) -> list[list[str]]:
    """CPU seconds of encoding and decoding with all codebooks."""
    rows = [["warm", f"{PLAIN}, ms", f"{variant.variant}, ms", "times faster"]]
    voice = synthetic_voice(plain.sample_rate)
    for seconds in lengths:
        wave = np.resize(voice, round(seconds * plain.sample_rate))
        rows += _measured(f"of {seconds:g} s", {c.variant: _offline(c, wave) for c in (plain, variant)}, repeats)
    wave = voice[: round(STREAM_SECONDS * plain.sample_rate)]
    what = f"a stream of {STREAM_SECONDS:g} s frame by frame"
    return rows + _measured(what, {c.variant: _streamed(c, wave) for c in (plain, variant)}, repeats)


def _measured(what: str, calls: dict[str, tuple[Call, Call]], repeats: int) -> list[list[str]]:
    rows = []
    for index, direction in enumerate(("encode", "decode")):
        for pair in calls.values():
            pair[index]()
        turns = {name: _timed(pair[index]) for name, pair in calls.items()}
        medians = [spread([sample.cpu for sample in found]).median for found in interleave(turns, repeats).values()]
        rows.append([f"{direction} {what}", *(number(1000 * median) for median in medians), number(medians[0] / medians[1])])
    return rows


def _timed(call: Call) -> Callable[[], Sample]:
    def turn() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        cpu = time.process_time() - cpu
        return Sample(time.perf_counter() - wall, cpu)

    return turn


def _offline(codec: Codec, wave: Wave) -> tuple[Call, Call]:
    tokens = codec.wave_to_tokens(wave, codec.sample_rate, codebooks=codec.codebooks)
    return (
        lambda: codec.wave_to_tokens(wave, codec.sample_rate, codebooks=codec.codebooks),
        lambda: codec.tokens_to_wave(tokens),
    )


def _streamed(codec: Codec, wave: Wave) -> tuple[Call, Call]:
    codes = codec.wave_to_tokens(wave, codec.sample_rate, codebooks=codec.codebooks).codes

    def encode() -> None:
        encoder = codec.stream_encoder(codebooks=codec.codebooks)
        for start in range(0, len(wave), codec.hop):
            encoder.push(wave[start : start + codec.hop])
        encoder.finish()

    def decode() -> None:
        decoder = codec.stream_decoder()
        for frame in codes:
            decoder.push(frame[None])
        decoder.finish()

    return encode, decode


def cold_rows(model: str, variant: Codec, repeats: int) -> list[list[str]]:
    """CPU seconds of whole processes."""
    with temporary_folder() as folder:
        source, coded, decoded = (folder / file for file in ("voice.wav", "voice.mxc", "voice.decoded.wav"))
        write_looped(source, synthetic_voice(variant.sample_rate), variant.sample_rate, 10.0)
        commands = {BASE_IMPORT: [sys.executable, "-c", BASE_IMPORT]}
        for direction, files in (("encode", (source, coded)), ("decode", (coded, decoded))):
            for kind in (PLAIN, variant.variant):
                command = [direction, str(files[0]), "-o", str(files[1]), "--model", model, "--variant", kind]
                commands[f"mixcodec {direction} of 10 s, {kind}"] = [*COMMAND, *command]
        environ = environment(None)
        for command in commands.values():  # what is read is then in memory, and there is a file to decode
            timed_process(command, environ)
        turns = {what: (lambda command=command: timed_process(command, environ)) for what, command in commands.items()}
        found = interleave(turns, repeats)
    rows = [["cold", "CPU s", "least"]]
    for what, samples in found.items():
        cpu = spread([sample.cpu for sample in samples])
        rows.append([what, number(cpu.median), number(cpu.low)])
    return rows


def same_rows(plain: Codec, variant: Codec, waves: list[Wave]) -> list[list[str]]:
    """How much of what the plain graphs give the variant gives too, over all waves (N,) at the codec's rate."""
    same, power, difference = [], 0.0, 0.0
    for wave in waves:
        ours, theirs = (codec.wave_to_tokens(wave, codec.sample_rate, codebooks=codec.codebooks) for codec in (plain, variant))
        same.append(ours.codes == theirs.codes)
        usual = ours.with_codebooks(plain.config.default_codebooks)
        sound = plain.tokens_to_wave(usual)
        power += float(np.square(sound).sum())
        difference += float(np.square(sound - variant.tokens_to_wave(usual)).sum())
    shares = np.concatenate(same).mean(0)
    below = 10 * np.log10(power / difference) if difference else np.inf
    return [
        ["codebook", *(str(index + 1) for index in range(len(shares))), "wave of equal codes"],
        ["the plain codes", *(f"{100 * share:.1f} %" for share in shares), f"{below:.1f} dB"],
    ]


if __name__ == "__main__":
    sys.exit(main())
