"""What quantizers are said to do, measured on real speech.

python -m mixcodec.evaluate.claims.quantizers collapse --speech FOLDER

prints one table as Markdown and what it says of the claim; `all` prints every one. Features come from speakers of which none
is in both halves: quantizers learn from the first and are measured on the second.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from mixcodec.bpe import CodeBpe
from mixcodec.errors import UsageError
from mixcodec.evaluate.claims.claim import Claim, command
from mixcodec.evaluate.claims.features import Speech, batches, codes_of_clips, excerpts, shipped_net, speech_features
from mixcodec.extras import need_package
from mixcodec.nn.quantizers import QUANTIZERS, Quantizer, Reduced, Residual, VqGradient
from mixcodec.nn.quantizers.lookup import Lookup
from mixcodec.nn.quantizers.search import nearest_entries

Config = Mapping[str, Any]
Row = list[str | float]
Streams = tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], int]
"""Codes of clips to learn from, codes of clips to measure, and the size of the codebook."""


# Training and measuring ----------------------------------------------------------------------------------------------


def train(
    config: Config,
    speech: Speech,
    steps: int,
    batch: int = 1024,
    lr: float = 1e-3,
    start: bool = True,
    length: int = 0,
    seed: int = 0,
    start_frames: int = 1 << 16,
    entries: torch.Tensor | None = None,
    decay: bool = False,
) -> Quantizer:
    """The quantizer of `config` after `steps` of Adam on squared error and its own loss, in evaluation mode.

    Frames are drawn one by one or, with `length`, as runs of so many. `start` fits the codebooks to the first
    `start_frames` features before that; `entries` (size, C), if given, are then what those of `vq_gradient` begin as. With
    `decay` the learning rate falls to 0 evenly.
    """
    torch.manual_seed(seed)
    quantizer = QUANTIZERS.build(dict(config), channels=speech.channels)
    frames = speech.frames("train")
    if start:
        quantizer.start(frames[:start_frames])
    if entries is not None and isinstance(quantizer, VqGradient):
        with torch.no_grad():
            quantizer.entries.copy_(quantizer.enter(entries))
    runs = excerpts(speech.train, max(1, batch // length), length, seed) if length else batches(frames, batch, seed)
    variance = (frames - frames.mean(0)).square().mean()
    if parameters := list(quantizer.parameters()):
        optimizer = torch.optim.Adam(parameters, lr)
        for step in range(steps):
            z = next(runs)
            quantized = quantizer(z)
            optimizer.zero_grad()
            ((quantized.vectors - z).square().mean() / variance + quantized.loss).backward()
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - step / steps) if decay else lr
            optimizer.step()
    return quantizer.eval()


@torch.no_grad()
def codes_of(quantizer: Quantizer, frames: torch.Tensor) -> torch.Tensor:
    """Codes (M, K)."""
    return torch.cat([quantizer.vectors_to_codes(part) for part in frames.split(1 << 14)])


@torch.no_grad()
def codes_by_tree(quantizer: Quantizer, frames: torch.Tensor) -> torch.Tensor:
    """Codes (M, 1) of frames, by the Euclidean distance in few dimensions: a tree finds them in a twentieth of the time.

    They differ from those of `codes_of` where two entries are as near but for the last digits of float32.
    """
    if not isinstance(quantizer, Lookup) or quantizer.metric != "euclidean":
        raise TypeError("a tree is for one codebook that is searched by Euclidean distance")
    spatial = need_package("scipy.spatial", "eval", "the claim bank")
    _, codes = spatial.cKDTree(quantizer.table().double().numpy()).query(quantizer.enter(frames).double().numpy())
    return torch.from_numpy(codes)[:, None]


def used(codes: torch.Tensor, size: int) -> float:
    """Share of `size` entries that is among the codes."""
    return len(codes.unique()) / size


def perplexity(codes: torch.Tensor, size: int) -> float:
    """2 to the entropy of the codes, as a share of `size`."""
    share = torch.bincount(codes.flatten(), minlength=size) / codes.numel()
    return float((-torch.special.xlogy(share, share).sum()).exp()) / size


@torch.no_grad()
def error_db(quantizer: Quantizer, frames: torch.Tensor, codes: torch.Tensor) -> float:
    """Squared error of what the codes (M, k) stand for, in dB under the variance of the frames: the higher, the better."""
    parts = zip(frames.split(1 << 14), codes.split(1 << 14), strict=True)
    error = sum(float((quantizer.codes_to_vectors(code) - part).square().sum()) for part, code in parts)
    return float(-10 * np.log10(error / float((frames - frames.mean(0)).square().sum())))


# Claims --------------------------------------------------------------------------------------------------------------


def collapse(speech: Speech, size: int = 4096, dim: int = 16, steps: int = 600) -> Claim:
    """SimVQ keeps in use what a codebook of gradients lets collapse."""
    held = speech.frames("held")
    shapes: dict[str, Any] = {"size": size, "dim": dim, "metric": "euclidean"}
    rows: list[Row] = []
    share: dict[str, float] = {}
    others: dict[str, float] = {}
    kinds: dict[str, dict[str, Any]] = {
        "gradient (vq_gradient)": {"kind": "vq_gradient"},
        "gradient, k-means start": {"kind": "vq_gradient", "fitted": True},
        "moving averages, restart (vq)": {"kind": "vq"},
        "one linear layer (simvq)": {"kind": "simvq"},
    }
    for name, config in kinds.items():
        quantizer = train(shapes | config, speech, steps)
        codes = codes_of(quantizer, held)
        share[name] = used(torch.cat([codes, codes_of(quantizer, speech.frames("train"))]), size)
        others[name] = used(codes, size)
        rows.append([name, 100 * others[name], 100 * share[name], 100 * perplexity(codes, size)])
        rows[-1].append(error_db(quantizer, held, codes))
    simvq, plain = share["one linear layer (simvq)"], share["gradient (vq_gradient)"]
    says = f"SimVQ uses {simvq:.1%} of {size} entries where plain gradient VQ uses {plain:.1%}"
    holds = simvq > 0.95 and plain < 0.5
    verdict = (
        f"{says} on all frames: the claim (above 95 %, below 50 %) {'holds' if holds else 'DOES NOT hold'}; on the fewer "
        f"frames of speakers that it did not learn from, {others['one linear layer (simvq)']:.1%}. {speech.about}."
    )
    columns = ["codebook", "used by other speakers, %", "used by all, %", "perplexity / size, %", "error under variance, dB"]
    return Claim(
        f"Collapse: {size} entries of {dim} dimensions, {steps} steps", columns, rows, verdict, {"simvq": simvq, "plain": plain}
    )


def bank(speech: Speech, size: int = 1 << 16, steps: int = 300, per_entry: int = 12) -> Claim:
    """A frozen bank keeps a very large codebook in use, by speech that it was not made of.

    Of the speakers to learn from every third clip fills the bank and trains; their other clips, and the other speakers, use
    it: `per_entry` frames an entry. Of so many even random choices would leave some entries out: that share is in the table.
    """
    draw = torch.Generator().manual_seed(0)
    clips = {"learn": speech.train[::3], "same": [c for i, c in enumerate(speech.train) if i % 3], "other": speech.held}
    most = per_entry * size
    frames = {name: (whole := torch.cat(part))[torch.randperm(len(whole), generator=draw)[:most]] for name, part in clips.items()}
    mean, scale = frames["learn"].mean(0), frames["learn"].std()
    frames = {name: (part - mean) / scale for name, part in frames.items()}  # so that a step of Adam is small against weights
    seen = Speech([frames["learn"]], [frames["other"]], speech.about)
    shapes = {"size": size, "dim": 8, "metric": "euclidean"}
    rows: list[Row] = []
    numbers: dict[str, float] = {}

    def count(name: str, part: str, codes: torch.Tensor, quantizer: Quantizer) -> None:
        numbers[f"{name}, {part}"] = share = used(codes, size)
        told = {"same": "other clips of its speakers", "other": "other speakers"}[part]
        expected = 1 - (1 - 1 / size) ** len(codes)
        rows.append([name, told, f"{len(codes)}", 100 * share, 100 * expected, 100 * perplexity(codes, size)])
        rows[-1].append(error_db(quantizer, frames[part][: len(codes)], codes))

    enough = min(len(frames["learn"]), size + size // 4)
    kinds: dict[str, tuple[dict[str, Any], int]] = {
        "frozen bank, learned projector": ({"kind": "frozen_bank"}, enough),
        "gradient, entries begin at such a bank": ({"kind": "vq_gradient"}, 4096),
        "gradient (plain vq)": ({"kind": "vq_gradient"}, 4096),
    }
    for name, (config, first) in kinds.items():
        entries = frames["learn"][:size] if "begin" in name else None
        quantizer = train(shapes | config, seen, steps, 256, 3e-4, start_frames=first, entries=entries, decay=True)
        if name == "gradient (plain vq)":  # entries that never moved lie so close that a tree is of no use
            few = frames["same"][: 2 * size]
            count(name, "same", codes_of(quantizer, few), quantizer)
            continue
        for part in ("same", "other"):
            count(name, part, codes_by_tree(quantizer, frames[part]), quantizer)
    kept, strict = (numbers[f"frozen bank, learned projector, {part}"] for part in ("same", "other"))
    holds = kept > 0.95
    verdict = (
        f"Other clips of the speakers that the bank is made of use {kept:.1%} of {size} entries: the claim (above 95 %) "
        f"{'holds' if holds else 'DOES NOT hold'} where the bank is of the kind of speech that it codes; by speakers "
        f"that it has not heard, {strict:.1%}. Plain VQ uses {numbers['gradient (plain vq), same']:.2%}, and "
        f"{numbers['gradient, entries begin at such a bank, same']:.1%} where its entries begin at such a bank: in {steps} steps "
        f"it is the start that counts. {speech.about}."
    )
    columns = ["codebook", "used by", "frames", "used, %", "if all were as likely, %", "perplexity / size, %"]
    title = f"A large codebook from a frozen bank of features (VQGAN-LC): {size} entries, {steps} steps"
    return Claim(title, [*columns, "error under variance, dB"], rows, verdict, numbers)


def cures(speech: Speech, size: int = 1024, steps: int = 300) -> Claim:
    """Restart of dead codes and a k-means start each raise use."""
    held = speech.frames("held")
    rows: list[Row] = []
    numbers: dict[str, float] = {}
    for fitted in (False, True):
        for restart in (0.0, 0.1):
            config = {"kind": "vq", "size": size, "dim": 8, "metric": "euclidean", "fitted": fitted, "restart": restart}
            quantizer = train(config, speech, steps)
            codes = codes_of(quantizer, held)
            name = f"{'k-means' if fitted else 'random'} start, {'restart' if restart else 'no restart'}"
            numbers[name] = used(codes, size)
            rows.append([name, 100 * numbers[name], 100 * perplexity(codes, size), error_db(quantizer, held, codes)])
    plain = numbers["random start, no restart"]
    restart_gain, start_gain = numbers["random start, restart"] - plain, numbers["k-means start, no restart"] - plain
    holds = restart_gain > 0 and start_gain > 0
    verdict = (
        f"Restart adds {100 * restart_gain:.1f} points of use, a k-means start {100 * start_gain:.1f}: "
        f"the claim (each raises use) {'holds' if holds else 'DOES NOT hold'}. {speech.about}."
    )
    columns = ["moving averages (vq)", "entries used, %", "perplexity / size, %", "error under variance, dB"]
    return Claim(f"Restart and k-means: {size} entries, {steps} steps", columns, rows, verdict, numbers)


def groups(speech: Speech, books: int = 8, size: int = 1024, steps: int = 200) -> Claim:
    """Group-residual against residual quantization, with as many codebooks."""
    held = speech.frames("held")
    rows: list[Row] = []
    found: dict[str, list[float]] = {}
    codebook = {"kind": "vq", "size": size, "dim": 16}
    for name, config in {
        "residual": {"kind": "residual", "codebooks": books, "codebook": codebook},
        "group_residual, 2 groups": {"kind": "group_residual", "codebooks": books, "groups": 2, "codebook": codebook},
    }.items():
        quantizer = train(config, speech, steps)
        codes = codes_of(quantizer, held)
        found[name] = [error_db(quantizer, held, codes[:, :k]) for k in (books // 4, books // 2, books)]
        rows.append([name, *found[name]])
    residual, group = (row[-1] for row in found.values())
    told = "better" if group > residual else "WORSE"
    verdict = (
        f"At {books} codebooks groups are {abs(group - residual):.2f} dB {told} than a residual of as many: the claim (they "
        f"are better) {'holds' if group > residual else 'DOES NOT hold'}. {speech.about}."
    )
    columns = ["quantizer", *(f"{k} codebooks, dB" for k in (books // 4, books // 2, books))]
    numbers = {"residual": residual, "group": group}
    return Claim(f"Groups: {books} codebooks of {size}, {steps} steps", columns, rows, verdict, numbers)


def masked(speech: Speech, books: int = 8, size: int = 1024, steps: int = 200) -> Claim:
    """Masked-channel residual quantization spreads what is said off the first codebook."""
    held = speech.frames("held")
    rows: list[Row] = []
    first: dict[str, float] = {}
    whole: dict[str, float] = {}
    codebook = {"kind": "vq", "size": size, "dim": 16}
    for name, config in {
        "residual": {"kind": "residual", "codebooks": books, "codebook": codebook},
        "masked_residual, 3 masked": {"kind": "masked_residual", "codebooks": books, "masked": 3, "codebook": codebook},
    }.items():
        quantizer = train(config, speech, steps)
        codes = codes_of(quantizer, held)
        left = [1.0, *(10 ** (-error_db(quantizer, held, codes[:, :k]) / 10) for k in range(1, books + 1))]
        shares = [100 * (a - b) / (1 - left[-1]) for a, b in itertools.pairwise(left)]
        first[name], whole[name] = shares[0], -10 * float(np.log10(left[-1]))
        rows.append([name, *shares, whole[name]])
    residual, spread = first.values()
    lost = whole["residual"] - whole["masked_residual, 3 masked"]
    verdict = (
        f"The first codebook holds {spread:.1f} % of what all hold, in place of {residual:.1f} %; all together "
        f"lose {lost:.2f} dB: the claim (spread off the first) {'holds' if spread < residual else 'DOES NOT hold'}. "
        f"{speech.about}."
    )
    columns = ["share of the variance explained, %", *(str(k + 1) for k in range(books)), "all, dB"]
    numbers = {"residual": residual, "masked": spread, "lost": lost}
    return Claim(f"Masked channels: {books} codebooks of {size}, {steps} steps", columns, rows, verdict, numbers)


def tail(speech: Speech, frames: int = 8, tokens: int = 16, size: int = 1024, steps: int = 300) -> Claim:
    """A tail that is dropped in training is missed less when it is cut off."""
    cuts = [max(1, tokens * n // 8) for n in (1, 2, 4, 6, 8)]
    codebook = {"kind": "vq", "size": size, "dim": 8, "metric": "euclidean"}
    shapes = {"kind": "tail_drop", "frames": frames, "tokens": tokens, "dim": 8, "codebook": codebook}
    held = [clip[: len(clip) // frames * frames] for clip in speech.held]
    whole = torch.cat(held)
    rows: list[Row] = []
    found: dict[str, list[float]] = {}
    for name, drop, start in (
        ("no drop, random start", 0.0, False),
        ("tail drop, random start", 0.7, False),
        ("no drop, principal axes as start", 0.0, True),
        ("tail drop, principal axes as start", 0.7, True),
    ):
        quantizer = train(shapes | {"drop": drop}, speech, steps, 1024, 2e-3, start, length=4 * frames)
        codes = codes_of_groups(quantizer, held)
        found[name] = [error_db(quantizer, whole, codes[:, :k]) for k in cuts]
        rows.append([name, *found[name]])
    hard, graceful = found["no drop, random start"], found["tail drop, random start"]
    gain, cost = graceful[1] - hard[1], hard[-1] - graceful[-1]
    holds = gain > 0.2 and cost < gain
    verdict = (
        f"At a quarter of the tokens the drop gains {gain:.2f} dB over cutting tokens that were never dropped, and costs "
        f"{cost:.2f} dB at all of them: the claim (it degrades gracefully) {'holds' if holds else 'DOES NOT hold'}; at all "
        f"cuts: {', '.join(f'{g - h:+.2f}' for g, h in zip(graceful, hard, strict=True))} dB. {speech.about}."
    )
    columns = ["trained with", *(f"{k} of {tokens} tokens, dB" for k in cuts)]
    title = f"Tail drop: groups of {frames} frames, {tokens} tokens of {size}, {steps} steps"
    return Claim(title, columns, rows, verdict, {"gain": gain, "cost": cost})


@torch.no_grad()
def codes_of_groups(quantizer: Quantizer, clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """Codes (M, K) of clips of whole groups, one after the other."""
    return torch.cat([quantizer.vectors_to_codes(clip) for clip in clips])


def bpe(speech: Speech, codes: Mapping[str, Streams] | None = None) -> Claim:
    """Byte-pair encoding shortens codes, and gives them back exactly."""
    rows: list[Row] = []
    numbers: dict[str, float] = {}
    exact = True
    for name, (learn, held, size) in (codes if codes is not None else streams(speech)).items():
        symbols = size * held[0].shape[1]
        count = sum(clip.size for clip in held)
        repeats = sum(int((clip[1:] == clip[:-1]).sum()) for clip in held) / count
        for more in (1024, 4096, 16384):
            merges = CodeBpe.learn(learn, size, symbols + more)
            tokens = [merges.codes_to_tokens(clip) for clip in held]
            exact &= all((merges.tokens_to_codes(t) == c).all() for t, c in zip(tokens, held, strict=True))
            length = sum(map(len, tokens))
            numbers[f"{name} {more}"] = 1 - length / count
            rows.append([name, f"{len(merges.merges)}", 100 * repeats, 100 * (1 - length / count)])
            if len(merges.merges) < more:
                break
    best = max(numbers, key=lambda name: numbers[name])
    verdict = (
        f"Shortens by up to {numbers[best]:.1%} ({best.rpartition(' ')[0]}) on speakers that no merge was learned from, and "
        f"every clip {'comes back exactly' if exact else 'DOES NOT come back'}. {speech.about}."
    )
    columns = ["codes", "merges", "codes that repeat the one before, %", "shorter by, %"]
    return Claim("Byte-pair encoding over codes", columns, rows, verdict, numbers | {"exact": float(exact)})


def streams(speech: Speech) -> dict[str, Streams]:
    """Streams of codes to learn from and to measure: of the shipped codec and of single codebooks of several sizes."""
    shipped = shipped_net().quantizer

    def encode(clip: torch.Tensor) -> torch.Tensor:
        return shipped.vectors_to_codes(clip + speech.mean)

    found: dict[str, Streams] = {}
    whole = codes_of_clips(speech.train, encode), codes_of_clips(speech.held, encode)
    found["speech-16k, first codebook"] = ([c[:, :1] for c in whole[0]], [c[:, :1] for c in whole[1]], shipped.size)
    found["speech-16k, first 2 codebooks"] = ([c[:, :2] for c in whole[0]], [c[:, :2] for c in whole[1]], shipped.size)
    for size in (64, 256):
        quantizer = train({"kind": "vq", "size": size, "dim": 8, "metric": "euclidean"}, speech, 0)
        learn, held = (codes_of_clips(clips, quantizer.vectors_to_codes) for clips in (speech.train, speech.held))
        found[f"k-means, {size} entries"] = (learn, held, size)
    return found


def search(points: int = 512, size: int = 1 << 17, dims: Sequence[int] = (8, 32), repeats: int = 4) -> Claim:
    """Blocked nearest-neighbour search against one matrix product of the same size, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[Row] = []
    numbers: dict[str, float] = {}
    for dim in dims:
        torch.manual_seed(0)
        x, entries = torch.randn(points, dim), torch.randn(size, dim)
        times: dict[str, list[float]] = {"product": [], "search": [], "naive": []}
        for _ in range(repeats):  # in turn, so that what else the machine does falls on all
            times["product"].append(_seconds(lambda x=x, e=entries: x @ e.T))  # type: ignore[misc]
            times["search"].append(_seconds(lambda x=x, e=entries: nearest_entries(x, e, "euclidean")))  # type: ignore[misc]
            times["naive"].append(_seconds(lambda x=x, e=entries: _naive(x, e)))  # type: ignore[misc]
        fastest = {name: min(each) for name, each in times.items()}
        memory = {name: _peak_megabytes(name, points, size, dim) for name in fastest}
        numbers[f"dim {dim}"] = fastest["search"] / fastest["product"]
        numbers[f"memory {dim}"] = memory["search"]
        names = {"product": "x @ entries.T alone", "search": "blocked search", "naive": "all distances, then argmin"}
        for name, told in names.items():
            rows.append([f"{told}, {dim} dimensions", 1000 * fastest[name], fastest[name] / fastest["product"], memory[name]])
    torch.set_num_threads(threads)
    worst = max(value for name, value in numbers.items() if name.startswith("dim"))
    most = max(numbers[f"memory {dim}"] for dim in dims)
    verdict = (
        f"The search takes {worst:.2f} times one matrix product of the same size at most, and {most:.0f} MB: "
        f"the claim (within 2) {'holds' if worst <= 2 else 'DOES NOT hold'}."
    )
    columns = [f"{points} points, {size} entries", "ms", "of the product", "memory, MB"]
    return Claim("Nearest-neighbour search, one thread", columns, rows, verdict, numbers)


def _naive(x: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x, entries).argmin(-1)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


MEMORY = """
import sys
from mixcodec.evaluate.claims.quantizers import peak_growth
print(peak_growth(sys.argv[1], *map(int, sys.argv[2:])))
"""


def _peak_megabytes(what: str, points: int, size: int, dim: int) -> float:
    """What `what` adds to the memory of a process of its own, 10^6 bytes."""
    command = [sys.executable, "-c", MEMORY, what, str(points), str(size), str(dim)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_growth(what: str, points: int, size: int, dim: int) -> float:
    """By how much a product, a search or all distances raise this process's peak memory, 10^6 bytes."""
    torch.set_num_threads(1)
    x, entries = torch.randn(points, dim), torch.randn(size, dim)
    run: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "product": lambda e: x @ e.T,
        "search": lambda e: nearest_entries(x, e, "euclidean"),
        "naive": lambda e: _naive(x, e),
    }
    run[what](entries[:64])  # what the library itself needs
    now, _ = _resident()
    run[what](entries)
    return (_resident()[1] - now) / 1e6


def _resident() -> tuple[int, int]:
    """Bytes of memory this process has now, and has had at most."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows["VmRSS"].split()[0]) * 1024, int(rows["VmHWM"].split()[0]) * 1024


def merge(speech: Speech, books: int = 8, size: int = 1024) -> Claim:
    """Merged codes in the shallow levels of the shipped codec's own quantizer, without training."""
    base = shipped_net().quantizer
    assert isinstance(base, Residual)
    weights = {f"levels.{k}.{name}": t for k, level in enumerate(base.chain) for name, t in level.state_dict().items()}
    whole = torch.cat([clip[: len(clip) // 4 * 4] for clip in speech.held]) + speech.mean
    rows: list[Row] = []
    numbers: dict[str, float] = {}
    for strides in ([1] * books, [2] + [1] * (books - 1), [2, 2] + [1] * (books - 2), [4, 2] + [1] * (books - 2)):
        codebook = {"kind": "vq", "size": size, "dim": 16}
        merged = QUANTIZERS.build({"kind": "merged_residual", "strides": strides, "codebook": codebook}, channels=speech.channels)
        merged.load_state_dict(weights)
        merged.eval()
        codes = codes_of(merged, whole)
        errors = [error_db(merged, whole, codes[:, :k]) for k in (1, books // 2, books)]
        name = " ".join(map(str, strides))
        numbers[name] = errors[-1]
        rows.append([name, sum(1 / s for s in strides), *errors])
    plain, halved = list(numbers.values())[:2]
    verdict = (
        f"Half the codes of the first level cost {plain - halved:.2f} dB of all {books} levels, without training (VALL-E R). "
        f"{speech.about}."
    )
    columns = ["frames a code, level by level", "codes a frame", "1 level, dB", f"{books // 2} levels, dB", f"{books} levels, dB"]
    return Claim("Merged codes of the shipped codec", columns, rows, verdict, numbers)


def reduced(speech: Speech, size: int = 4096, digits: int = 4, steps: int = 300) -> Claim:
    """One trained codebook, and what the smaller ones in it are worth beside such as were trained for their size."""
    held = speech.frames("held")
    rows: list[Row] = []
    numbers: dict[str, float] = {}
    codebook = {"kind": "vq", "size": size, "dim": 8, "metric": "euclidean"}
    quantizer = train({"kind": "reduced", "digits": digits, "codebook": codebook}, speech, steps)
    if isinstance(quantizer, Reduced):
        quantizer.reduce()
    codes = codes_of(quantizer, held)
    errors: list[float] = []
    for k in range(1, digits + 1):
        entries = quantizer.size**k
        own = train(codebook | {"kind": "vq", "size": entries}, speech, steps)
        nested, alone = error_db(quantizer, held, codes[:, :k]), error_db(own, held, codes_of(own, held))
        numbers[f"{entries}"] = alone - nested
        errors.append(nested)
        rows.append([f"{entries}", nested, alone])
    rising = all(a < b for a, b in itertools.pairwise(errors))
    verdict = (
        f"More digits {'always' if rising else 'DO NOT always'} lower the error; a codebook found in the large one is "
        f"{max(numbers.values()):.2f} dB under one trained for its size at most. {speech.about}."
    )
    columns = ["entries", "found in the large one, dB", "trained alone, dB"]
    return Claim(
        f"Reduced codebooks: {size} entries, {digits} digits", columns, rows, verdict, numbers | {"rising": float(rising)}
    )


# Command -------------------------------------------------------------------------------------------------------------

CLAIMS: Mapping[str, Callable[[Speech], Claim]] = {
    "collapse": collapse,
    "bank": bank,
    "cures": cures,
    "groups": groups,
    "masked": masked,
    "tail": tail,
    "bpe": bpe,
    "merge": merge,
    "reduced": reduced,
}
DENSE = ("bank",)
"""Claims that need more frames than a codec makes: log-mel bands every 10 ms, of `MORE` times as much speech."""
MORE = 16

Name = Literal["collapse", "bank", "cures", "groups", "masked", "tail", "bpe", "merge", "reduced", "search", "all"]


@dataclass(frozen=True)
class Arguments:
    """What quantizers are said to do, measured on real speech: prints a table for each claim."""

    claim: Annotated[Name, tyro.conf.Positional]
    """Which claim."""
    speech: Path = Path("corpus")
    """Folder of recordings of several speakers, at best with a manifest.tsv that names them."""
    seconds: float = 1200.0
    """Of speech; half of it is for measuring. The bank takes 16 times as much."""
    features: Literal["latents", "mel"] = "latents"
    """What the shipped codec's quantizer sees, or log-mel bands."""
    seed: int = 0


def run(arguments: Arguments) -> None:
    """Prints the tables that `arguments` ask for."""
    if not 0 < arguments.seconds < float("inf"):
        raise UsageError(f"--seconds is {arguments.seconds:g}, but must be above 0")
    sparse: Speech | None = None
    for name in [*CLAIMS, "search"] if arguments.claim == "all" else [arguments.claim]:
        if name == "search":
            print(search(), flush=True)
            continue
        if name in DENSE:
            speech = speech_features(arguments.speech, MORE * arguments.seconds, "mel", 0.25, hop=160, seed=arguments.seed)
        else:
            if sparse is None:
                sparse = speech_features(arguments.speech, arguments.seconds, arguments.features, seed=arguments.seed)
            speech = sparse
        print(CLAIMS[name](speech), flush=True)


def main() -> int:
    """Runs the command line."""
    return command(run, Arguments)


if __name__ == "__main__":
    sys.exit(main())
