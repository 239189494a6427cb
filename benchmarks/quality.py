"""Quality at the bits of real files: PESQ-WB, STOI, mel distance, codebook use; beside Opus and Codec2 on the same clips.

    python benchmarks/quality.py --root CORPUS --list LIST [--model speech-16k] [--jobs 2]

Every clip is made mono and 16 kHz, written to a 16-bit wav, coded to a real file and decoded again; its kbps are the bytes
of that file. The baselines are treated kindly: of Opus only the audio packets are counted, not the Ogg container; their
delay is taken out (the shift of greatest cross-correlation, of waveform or envelope, whichever scores the higher STOI).
A score that cannot be computed is listed with its reason.
"""

import argparse
import collections
import concurrent.futures
import math
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from mixcodec import load, read_audio, read_mxc, write_audio
from mixcodec.audio import resample
from mixcodec.runtime import decode_file, encode_file
from mixcodec.runtime.mel import MelDistance

SAMPLE_RATE = 16000
CODEC2_RATE = 8000
MAX_DELAY = 1600
"""Samples at 16 kHz (100 ms) within which a baseline's delay is looked for."""
METRICS = ("PESQ-WB", "STOI", "mel distance")
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder that the paths of the list are relative to")
    parser.add_argument("--list", type=Path, required=True, help="text file with one audio path a line")
    parser.add_argument("--model", default="speech-16k", help="name or folder; 'none' measures the baselines alone")
    parser.add_argument("--kbps", type=float, nargs="*", default=[0.5, 1, 1.5, 2, 3, 4])
    parser.add_argument("--opus", type=float, nargs="*", default=[6, 9], help="kbps asked of opusenc; none: leave it out")
    parser.add_argument("--codec2", type=int, nargs="*", default=[3200], help="modes of c2enc; none: leave it out")
    parser.add_argument("--limit", type=int, help="only the first clips of the list")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--clips-to", type=Path, help="also write each clip's scores to this tab-separated file")
    options = parser.parse_args()

    clips = [line.strip() for line in options.list.read_text().splitlines() if line.strip()][: options.limit]
    tools = ["opusenc", "opusdec"] * bool(options.opus) + ["c2enc", "c2dec"] * bool(options.codec2)
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        sys.exit(f"{', '.join(missing)}: not found; install opus-tools and codec2, or leave them out with --opus --codec2")
    if absent := [clip for clip in clips if not (options.root / clip).is_file()]:
        sys.exit(f"{len(absent)} clips of the list are not under {options.root}, such as {absent[0]}")

    tasks = [(options, clip) for clip in clips]
    if options.jobs > 1:
        with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
            results = list(pool.map(measure_clip, tasks))
    else:
        results = [measure_clip(task) for task in tasks]
    if options.clips_to:
        write_clips(options.clips_to, clips, results)
    print(report(options, clips, results))


def measure_clip(task: tuple[argparse.Namespace, str]) -> dict:
    """All codecs on one clip: {"seconds", "codes": (T, K) or None, "rows": {codec: {metric: value or reason}}}."""
    options, clip = task
    wave, rate = read_audio(options.root / clip)
    mono = resample(np.atleast_2d(wave).mean(axis=0, dtype=np.float32)[None], rate, SAMPLE_RATE)[0]
    rows: dict[str, dict[str, float | str]] = {}
    codes = None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        write_audio(source, mono, SAMPLE_RATE)
        reference, _ = read_audio(source)
        seconds = len(reference) / SAMPLE_RATE
        if options.model != "none":
            codec = cached_codec(options.model)
            mxc, decoded = Path(folder) / "mixcodec.mxc", Path(folder) / "mixcodec.wav"
            for kbps in sorted(options.kbps):
                encode_file(codec, source, mxc, kbps)
                decode_file(codec, mxc, decoded)
                row = scores(reference, read_audio(decoded)[0])
                rows[f"{codec.name} {kbps:g}"] = {"kbps": mxc.stat().st_size * 8 / seconds / 1000} | row
            encode_file(codec, source, mxc, codec.max_kbps())
            codes = read_mxc(mxc).codes
        for kbps in options.opus:
            size, wave = through_opus(source, Path(folder), kbps)
            rows[f"Opus {kbps:g}"] = {"kbps": size * 8 / seconds / 1000} | aligned_scores(reference, wave)
        for mode in options.codec2:
            size, wave = through_codec2(reference, Path(folder), mode)
            rows[f"Codec2 {mode}"] = {"kbps": size * 8 / seconds / 1000} | aligned_scores(reference, wave)
    print(".", end="", file=sys.stderr, flush=True)
    return {"seconds": seconds, "codes": codes, "rows": rows}


_CODECS: dict = {}


def cached_codec(model: str):
    """The codec, loaded once in each process."""
    if model not in _CODECS:
        _CODECS[model] = load(model)
    return _CODECS[model]


def through_opus(source: Path, folder: Path, kbps: float) -> tuple[int, np.ndarray]:
    """Bytes of the audio packets, and the decoded wave at 16 kHz."""
    coded, decoded = folder / "opus.opus", folder / "opus.wav"
    run("opusenc", "--quiet", "--speech", "--bitrate", f"{kbps:g}", source, coded)
    run("opusdec", "--quiet", "--no-dither", "--rate", SAMPLE_RATE, "--force-wav", coded, decoded)
    return sum(ogg_packet_bytes(coded.read_bytes())[2:]), read_audio(decoded)[0]  # after OpusHead and OpusTags


def ogg_packet_bytes(data: bytes) -> list[int]:
    """The sizes of the packets in an Ogg file of one logical stream (RFC 3533)."""
    sizes, size, place = [], 0, 0
    while place < len(data):
        if data[place : place + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {place}")
        lacing = data[place + 27 : place + 27 + data[place + 26]]
        for value in lacing:
            size += value
            if value < 255:
                sizes.append(size)
                size = 0
        place += 27 + len(lacing) + sum(lacing)
    return sizes


def through_codec2(reference: np.ndarray, folder: Path, mode: int) -> tuple[int, np.ndarray]:
    """Bytes of the codes, and the decoded wave resampled from 8 to 16 kHz."""
    raw, coded, decoded = folder / "in.raw", folder / "codec2.bits", folder / "out.raw"
    narrow = resample(reference[None], SAMPLE_RATE, CODEC2_RATE)[0]
    frame = CODEC2_RATE // 25  # c2enc drops what is less than a frame (20 or 40 ms): give it one more of silence
    narrow = np.pad(narrow, (0, frame))
    np.clip(np.round(narrow * 32767), -32768, 32767).astype("<i2").tofile(raw)
    run("c2enc", mode, raw, coded)
    run("c2dec", mode, coded, decoded)
    wave = np.fromfile(decoded, "<i2").astype(np.float32) / 32768
    return coded.stat().st_size, resample(wave[None], CODEC2_RATE, SAMPLE_RATE)[0]


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def aligned_scores(reference: np.ndarray, wave: np.ndarray) -> dict[str, float | str]:
    """`scores` of a baseline whose delay and length differ from the reference's."""
    shifts = {0, best_shift(reference, wave), best_shift(envelope(reference), envelope(wave))}
    candidates = [shifted(wave, shift, len(reference)) for shift in sorted(shifts)]
    stois = [stoi_score(reference, candidate) for candidate in candidates]
    best = max(range(len(stois)), key=lambda i: stois[i] if isinstance(stois[i], float) else -1)
    return scores(reference, candidates[best])


def envelope(wave: np.ndarray) -> np.ndarray:
    """Magnitude smoothed over 10 ms, without its mean: codecs that do not keep the waveform keep this."""
    smooth = np.convolve(np.abs(wave), np.hanning(SAMPLE_RATE // 100), "same")
    return smooth - smooth.mean()


def best_shift(reference: np.ndarray, wave: np.ndarray) -> int:
    """By how many samples `wave` lags behind `reference`, at the greatest cross-correlation within MAX_DELAY."""
    size = 1 << (len(reference) + len(wave)).bit_length()
    product = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size)
    lags = np.concatenate([correlation[-MAX_DELAY:], correlation[: MAX_DELAY + 1]])
    return int(np.argmax(lags)) - MAX_DELAY


def shifted(wave: np.ndarray, shift: int, length: int) -> np.ndarray:
    """`wave` moved `shift` samples earlier, cut or padded with silence to `length`."""
    wave = wave[shift:] if shift >= 0 else np.pad(wave, (-shift, 0))
    return np.pad(wave[:length], (0, max(0, length - len(wave))))


def scores(reference: np.ndarray, wave: np.ndarray) -> dict[str, float | str]:
    """Each metric's value, or the reason why it has none."""
    assert reference.shape == wave.shape, "a codec must keep the length"
    distance = MelDistance(SAMPLE_RATE, 1)
    distance.push(reference[None], wave[None])
    values = (pesq_score(reference, wave), stoi_score(reference, wave), distance.finish())
    return dict(zip(METRICS, values, strict=True))


def pesq_score(reference: np.ndarray, wave: np.ndarray) -> float | str:
    from pesq import PesqError, pesq

    try:
        score = float(pesq(SAMPLE_RATE, reference, wave, "wb"))
    except (PesqError, ValueError) as error:
        return f"{type(error).__name__}: {error.args[0] if error.args else ''}"
    return score if math.isfinite(score) else f"PESQ gave {score}"


def stoi_score(reference: np.ndarray, wave: np.ndarray) -> float | str:
    from pystoi import stoi

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        score = float(stoi(reference, wave, SAMPLE_RATE))
    short = [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]
    return short[0].split(".")[0] if short else score


def report(options: argparse.Namespace, clips: list[str], results: list[dict]) -> str:
    """The tables, as Markdown."""
    total = sum(result["seconds"] for result in results)
    lines = [f"{len(clips)} clips of `{options.list.name}`, {total:.0f} s."]
    if options.model != "none":
        codec = cached_codec(options.model)
        lines[0] += f" Model `{codec.name}`, fingerprint `{codec.fingerprint}`."
    lines += ["Mean ± standard deviation over the clips [95 % bootstrap interval of the mean].", ""]
    lines += [f"| codec | real kbps | {' | '.join(METRICS)} | n |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name in results[0]["rows"]:
        kbps = sum(result["rows"][name]["kbps"] * result["seconds"] for result in results) / total
        cells, counts = [], []
        for metric in METRICS:
            values = np.array([v for result in results if isinstance(v := result["rows"][name][metric], float)])
            cells.append(spread(values))
            counts.append(len(values))
        n = str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))
        lines.append(f"| {name} | {kbps:.2f} | {' | '.join(cells)} | {n} |")
    lines += ["", "Real kbps: all bytes over all seconds; whole .mxc files, Opus without its Ogg container.", ""]
    lines += failures(clips, results)
    if options.model != "none":
        lines += codebook_table(np.concatenate([result["codes"] for result in results]), codec.codebook_size)
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    if not len(values):
        return "-"
    draws = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{values.mean():.3f} ± {values.std(ddof=min(1, len(values) - 1)):.3f} [{low:.3f}, {high:.3f}]"


def failures(clips: list[str], results: list[dict]) -> list[str]:
    """The scores that could not be computed: clip, metric, reason, codecs."""
    failed: dict[tuple[str, str, str], list[str]] = collections.defaultdict(list)
    for clip, result in zip(clips, results, strict=True):
        for name, row in result["rows"].items():
            for metric in METRICS:
                if isinstance(row[metric], str):
                    failed[clip, metric, row[metric]].append(name)
    if not failed:
        return ["Every score of every clip could be computed.", ""]
    lines = ["Not computed, and not in the means:", ""]
    for (clip, metric, reason), names in failed.items():
        every = len(names) == len(results[0]["rows"])
        lines.append(f"- {clip}: {metric} of {'every codec' if every else ', '.join(names)}: {reason}")
    return [*lines, ""]


def codebook_table(codes: np.ndarray, size: int) -> list[str]:
    """How the codes (T, K) of all clips together use each codebook."""
    lines = [f"Codebook use over {len(codes)} frames:", "", "| codebook | codes in use | perplexity |", "| ---: | ---: | ---: |"]
    for k in range(codes.shape[1]):
        counts = np.bincount(codes[:, k], minlength=size)
        shares = counts[counts > 0] / counts.sum()
        lines.append(f"| {k + 1} | {(counts > 0).mean():.1%} of {size} | {np.exp(-(shares * np.log(shares)).sum()):.0f} |")
    return lines


def write_clips(path: Path, clips: list[str], results: list[dict]) -> None:
    with path.open("w") as file:
        print("clip", "seconds", "codec", "kbps", *METRICS, sep="\t", file=file)
        for clip, result in zip(clips, results, strict=True):
            for name, row in result["rows"].items():
                print(clip, f"{result['seconds']:.3f}", name, *row.values(), sep="\t", file=file)


if __name__ == "__main__":
    main()
