"""What a trained codec is worth: quality on held-out clips, use of its codebooks, what its codes cost, speed and size."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixcodec.audio import Wave, read_audio, resample
from mixcodec.data import Data, Segments
from mixcodec.errors import DataError
from mixcodec.evaluate.bench.flops import torch_flops
from mixcodec.evaluate.clips import find_clips
from mixcodec.evaluate.codebooks import codebook_use
from mixcodec.evaluate.compare.quantizers import bits_of
from mixcodec.evaluate.measure import Conditions, Judge
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.state import State

Codes = NDArray[np.int64]

METRICS = ("mel", "pesq_wb", "stoi")
LEAST_FRAMES, MOST_FRAMES, FRAMES_AN_ENTRY = 9600, 65536, 4
"""How many frames of training speakers the entropy tables and the use of codebooks are counted on."""
UNSEEN_BATCH = 2_000_000_000
"""Number of the first of them: far above any step."""
PRIOR = 0.5
"""What every code has been seen beforehand (Krichevsky and Trofimov, 1981, The performance of universal encoding)."""
SPEED_SECONDS, SPEED_RUNS = 8.0, 3
STREAM_FRAMES = 50
FLOP_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Clips:
    """What is scored: segments of the held-out speakers, or the clips of a list."""

    count: int = 24
    seconds: float = 3.0
    root: str = ""
    names: tuple[str, ...] = ()
    """Paths below `root`; empty for the held-out speakers."""
    books: tuple[int, ...] = ()
    """How many codebooks they are scored at: bits are counted for the first of these numbers. Empty for all."""

    def waves(self, data: Data) -> dict[str, Wave]:
        """Name -> mono wave (N,) at the rate of the data."""
        rate = data.config.sample_rate
        if not self.names:
            if not data.valid.clips:
                raise DataError("no speakers are held out to score on; set data.validation in the recipe, or give --list")
            cut = Segments(data.valid, self.seconds, self.count, 0, balance=data.config.balance).batch(0)
            return {f"held-out-{i:03d}": wave for i, wave in enumerate(cut)}
        found = {}
        for name in self.names:
            wave, own = read_audio(Path(os.path.expanduser(self.root)) / name)
            found[name] = resample(wave if wave.ndim == 1 else wave.mean(0, dtype=np.float32), own, rate)
        return found


def listed_names(listed: Path, root: Path) -> tuple[str, ...]:
    """The clips that a list names. Raises DataError where it cannot be read, or a clip is not below `root`."""
    return tuple(clip.name for clip in find_clips(Path(os.path.expanduser(root)), listed))


def score(net: CodecNet, data: Data, clips: Clips) -> dict[str, Any]:
    """The measured part of a row. Scores and codes are the same at every call; seconds are those of the processor."""
    torch.manual_seed(0)  # a control may draw
    net.eval()
    waves = clips.waves(data)
    rate = net.sample_rate
    conditions = Conditions(Path(), METRICS, rate, mono=True)
    scores: dict[str, dict[str, float]] = {}
    problems: dict[str, dict[str, str]] = {}
    codes, books = [], clips.books or (net.codebooks,)
    for name, wave in waves.items():
        judge = Judge(wave, conditions)
        for k in books:
            decoded, found = code(net, wave, k)
            mark = "" if k == books[0] else f"@{k}"
            values, missing = judge.score(decoded)
            for scale, value in values.items():
                scores.setdefault(scale + mark, {})[name] = round(value, 6)
            for scale, reason in missing.items():
                problems.setdefault(scale + mark, {})[name] = reason
        codes.append(found)
    row: dict[str, Any] = {"scores": scores, "problems": problems, "clips": len(waves)}
    row |= {"seconds": round(sum(len(wave) for wave in waves.values()) / rate, 3)}
    row |= cost_of_codes(net, data, codes, books[0])
    return row | sizes(net) | speeds(net, np.concatenate(list(waves.values())))


@torch.no_grad()
def code(net: CodecNet, wave: Wave, books: int | None = None) -> tuple[Wave, Codes]:
    """A mono wave (N,) through so many codebooks (all if None), as long as before and without its delay; all codes (T, K)."""
    frames = math.ceil((len(wave) + net.delay) / net.hop)
    padded = torch.from_numpy(np.pad(wave, (0, frames * net.hop - len(wave))))[None]
    codes, _ = net.encode(padded, net.encoder_state(1))
    decoded, _ = net.decode(codes[..., :books], net.decoder_state(1))
    return decoded[0, net.delay : net.delay + len(wave)].numpy(), codes[0].numpy()


@torch.no_grad()
def cost_of_codes(net: CodecNet, data: Data, clips: Sequence[Codes], books: int | None = None) -> dict[str, Any]:
    """Bits a frame of the first `books` codebooks (all if None), as they are counted on paper and by tables learned from
    training clips; how far the codes of each codebook are in use."""
    segments = data.train_segments()
    counts = np.full((net.codebooks, net.codebook_size), PRIOR)
    wanted, learned = min(MOST_FRAMES, max(LEAST_FRAMES, FRAMES_AN_ENTRY * net.codebook_size)), 0
    while learned < wanted:
        wave = torch.from_numpy(segments.batch(UNSEEN_BATCH + learned))
        wave = wave[:, : wave.shape[1] // net.hop * net.hop]
        found = net.encode(wave, net.encoder_state(len(wave)))[0].flatten(0, 1).numpy()
        for k in range(net.codebooks):
            counts[k] += np.bincount(found[:, k], minlength=net.codebook_size)
        learned += len(found)
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    frames = np.concatenate(list(clips))
    spent = [float(bits[k, frames[:, k]].mean()) / stride for k, stride in enumerate(net.quantizer.strides)]
    use = codebook_use("", clips, net.codebook_size, 0)
    trained = (counts > PRIOR).mean(1)
    return {
        "nominal_bits": round(bits_of(net.quantizer, books), 4),
        "coded_bits": round(sum(spent[:books]), 4),
        "coded_bits_each": [round(s, 4) for s in spent],
        "used": [round(float(t), 5) for t in trained],
        "perplexity": [round(u.perplexity, 3) for u in use],
        "learned_frames": learned,
        "frame_rate": net.frame_rate,
        "codebooks": net.codebooks,
        "codebook_size": net.codebook_size,
    }


def stack_flops(net: CodecNet) -> float:
    """Operations of encoder and decoder stacks for a second of sound, counted on FLOP_SECONDS: products alone."""
    frames = round(FLOP_SECONDS * net.frame_rate)
    seen = torch.zeros(1, frames, net.transform.feature_channels)
    latent = torch.zeros(1, frames, net.config["latent"])
    with torch.no_grad():
        return torch_flops(lambda: (net.encoder(seen), net.decoder(latent))) / (frames / net.frame_rate)


def stack_parameters(net: CodecNet) -> int:
    """Numbers that the encoder and decoder stacks learn."""
    return sum(p.numel() for side in (net.encoder, net.decoder) for p in side.parameters())


def sizes(net: CodecNet) -> dict[str, Any]:
    """Parameters, arithmetic, state and delay."""
    streams = net.streams
    state: State = {}
    if streams:
        state = net.encoder.initial_state(1) | {f"d{k}": t for k, t in net.decoder.initial_state(1).items()}
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "quantizer_parameters": sum(p.numel() for p in net.quantizer.parameters()) + _stored(net),
        "stack_parameters": stack_parameters(net),
        "stack_flops": round(stack_flops(net)),
        "state_bytes": sum(t.numel() * t.element_size() for t in state.values()) if streams else None,
        "latency_ms": 1000 * (net.hop * net.quantizer.stride + net.delay) / net.sample_rate if streams else None,
    }


def _stored(net: CodecNet) -> int:
    """Numbers that the quantizer keeps without learning them by gradients, but needs to decode: tables of entries."""
    names = {name for name, _ in net.quantizer.named_parameters()}
    kept = {n: t for n, t in net.quantizer.state_dict().items() if n not in names and n.split(".")[-1] in STORED}
    return sum(t.numel() for t in kept.values())


STORED = ("entries", "basis", "bank")
"""Buffers of quantizers that hold a table; others are statistics."""


@torch.no_grad()
def speeds(net: CodecNet, wave: Wave) -> dict[str, Any]:
    """Seconds of sound in a second of the processor each way, on one block; and of the stream, ms a frame."""
    frames = math.ceil(SPEED_SECONDS * net.frame_rate / net.quantizer.stride) * net.quantizer.stride
    whole = torch.from_numpy(np.resize(wave, frames * net.hop))[None]
    seconds = frames / net.frame_rate
    codes, _ = net.encode(whole, net.encoder_state(1))
    found = {
        "encode_x": _rate(seconds, lambda: net.encode(whole, net.encoder_state(1))),
        "decode_x": _rate(seconds, lambda: net.decode(codes, net.decoder_state(1))),
    }
    if net.streams:

        def stream() -> None:
            before, after = net.encoder_state(1), net.decoder_state(1)
            for block in whole[:, : STREAM_FRAMES * net.hop].split(net.quantizer.stride * net.hop, 1):
                one, before = net.encode(block, before)
                _, after = net.decode(one, after)

        found["frame_ms"] = round(1000 / (_rate(STREAM_FRAMES, stream) or math.inf), 3)
    return found


def _rate(amount: float, call: Callable[[], object]) -> float:
    """`amount` by the processor's seconds of the fastest of some calls."""
    best = math.inf
    for _ in range(SPEED_RUNS):
        begun = time.process_time()
        call()
        best = min(best, time.process_time() - begun)
    return round(amount / max(best, 1e-9), 3)
