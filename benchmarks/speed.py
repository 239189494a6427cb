"""Speed on one thread: the warm runtime beside EnCodec 24 kHz, and a cold command beside its own imports.

    python benchmarks/speed.py [--model speech-16k] [--repeats 7]

Warm: 10 s of real speech, one channel, the two codecs in turn in one process. EnCodec is the `transformers` port at 6 kbps
with random weights, fp32 (weights do not change its speed); it codes 24 kHz, so it is given the clip at 24 kHz.
Cold: CPU time (user and system) of whole processes in turn: `mixcodec encode` of a 10 s wav, and `import numpy, onnxruntime`;
the environment is that of the caller.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clips import COMMAND, SAMPLE_RATE, looped_speech, write_looped_speech
from mixcodec import load
from mixcodec.audio import resample

SECONDS = 10
ENCODEC_RATE = 24000
ENCODEC_KBPS = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech-16k", help="name or folder")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--skip-warm", action="store_true")
    parser.add_argument("--skip-cold", action="store_true")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, median of {options.repeats} runs\n")
    if not options.skip_cold:
        print(cold(options.model, options.repeats), end="\n\n")
    if not options.skip_warm:
        print(warm(options.model, options.repeats))


def warm(model: str, repeats: int) -> str:
    """The table of the warm codecs."""
    speech = looped_speech(SECONDS)
    codec = load(model)
    codec_kbps = codec.max_kbps()
    tokens = codec.wave_to_tokens(speech, SAMPLE_RATE, codec_kbps)
    encode, decode = encodec(speech)
    tasks: dict[str, Callable[[], object]] = {
        "mixcodec encode": lambda: codec.wave_to_tokens(speech, SAMPLE_RATE, codec_kbps),
        "EnCodec encode": encode,
        "mixcodec decode": lambda: codec.tokens_to_wave(tokens),
        "EnCodec decode": decode,
    }
    walls: dict[str, list[float]] = {name: [] for name in tasks}
    cpus: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            wall, cpu = time.perf_counter(), time.process_time()
            task()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    lines = [
        f"{SECONDS} s of speech, warm, one thread: seconds of audio in a second",
        "",
        f"| | {codec.name} {codec_kbps:g} kbps | EnCodec 24 kHz {ENCODEC_KBPS:g} kbps | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what, times in (("of the clock", walls), ("of CPU time", cpus)):
        for direction in ("encode", "decode"):
            mine, theirs = (SECONDS / statistics.median(times[f"{name} {direction}"]) for name in ("mixcodec", "EnCodec"))
            lines.append(f"| {direction}, {what} | {mine:.0f} | {theirs:.1f} | {mine / theirs:.1f} |")
    return "\n".join(lines)


def encodec(speech: np.ndarray) -> tuple[Callable[[], object], Callable[[], object]]:
    """EnCodec's encoding and decoding of the clip."""
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig()).eval()
    wave = torch.from_numpy(resample(speech[None], SAMPLE_RATE, ENCODEC_RATE))[None]

    @torch.inference_mode()
    def encode() -> tuple[torch.Tensor, list]:
        coded = model.encode(wave, bandwidth=ENCODEC_KBPS)
        return coded.audio_codes, coded.audio_scales

    codes, scales = encode()

    @torch.inference_mode()
    def decode() -> object:
        return model.decode(codes, scales)

    return encode, decode


def cold(model: str, repeats: int) -> str:
    """The table of whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_looped_speech(Path(folder) / "speech.wav", SECONDS)
        target = Path(folder) / "speech.mxc"
        commands = {
            f"mixcodec encode of {SECONDS} s": [*COMMAND, "encode", source, "-o", target, "--model", model],
            "import numpy, onnxruntime": [sys.executable, "-c", "import numpy, onnxruntime"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for repeat in range(repeats + 1):
            for name, command in commands.items():
                seconds = child_cpu_seconds([str(part) for part in command])
                if repeat:  # the first warms the disk cache
                    times[name].append(seconds)
    medians = [statistics.median(values) for values in times.values()]
    lines = ["Cold, whole process, user and system CPU time", "", "| | CPU s | least | ratio |", "| --- | ---: | ---: | ---: |"]
    for name, values in times.items():
        median = statistics.median(values)
        lines.append(f"| {name} | {median:.3f} | {min(values):.3f} | {median / medians[1]:.2f} |")
    return "\n".join(lines)


def child_cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
