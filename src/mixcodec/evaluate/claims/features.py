"""Features of real speech on which claims are measured: frames of speakers to learn from, and of other speakers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from mixcodec.audio import Wave, read_audio, resample
from mixcodec.errors import DataError
from mixcodec.evaluate.clips import find_clips
from mixcodec.mel import mel_filters
from mixcodec.models import CONFIG, DEFAULT_MODEL, find_model
from mixcodec.nn.codec import CodecNet

RATE = 16000
BANDS = 80
WINDOW = 1024
FLOOR = 1e-5


@dataclass(frozen=True)
class Speech:
    """Features of clips, each (T, C): `train` of some speakers, `held` of others."""

    train: list[torch.Tensor]
    held: list[torch.Tensor]
    about: str
    """What they are, in words."""
    mean: torch.Tensor | float = 0.0
    """What was taken away from each channel, so that its mean over `train` is 0."""

    @property
    def channels(self) -> int:
        return int(self.train[0].shape[1])

    def frames(self, part: str) -> torch.Tensor:
        """All frames (M, C) of `train` or `held`."""
        return torch.cat(self.train if part == "train" else self.held)


def speech_waves(root: Path, seconds: float, held_share: float, seed: int = 0) -> tuple[list[Wave], list[Wave]]:
    """About `seconds` of speech at 16 kHz below `root`: clips of some speakers, and `held_share` of it of others.

    Clips come in an order drawn by `seed`; with a manifest.tsv, those that it calls speech of the split train. Where there is
    one speaker only, clips are held out instead.

    Raises:
        DataError: there are no such clips, or too few to hold some out.
    """
    listed = (root / "manifest.tsv").is_file()
    found = find_clips(root, kind="speech", split="train") if listed else find_clips(root)
    clips = [clip for clip in found if clip.seconds >= 0.5]
    if len(clips) < 2:
        raise DataError(f"{root}: has fewer than two clips of speech of half a second or more")
    speakers = sorted({clip.speaker for clip in clips})
    names = [clip.speaker if len(speakers) > 1 else clip.name for clip in clips]
    drawn = np.random.default_rng(seed)
    place = {name: i for i, name in enumerate(drawn.permutation(sorted(set(names))))}
    held = {name for name, i in place.items() if i < max(1, round(held_share * len(place)))}
    parts: tuple[list[Wave], list[Wave]] = ([], [])
    left = [seconds * (1 - held_share), seconds * held_share]
    for i in drawn.permutation(len(clips)):
        part = int(names[i] in held)
        if left[part] <= 0:
            continue
        wave, rate = read_audio(root / clips[i].name)
        mono = wave if wave.ndim == 1 else wave.mean(0)
        parts[part].append(resample(mono.astype(np.float32), rate, RATE))
        left[part] -= len(parts[part][-1]) / RATE
    if not parts[0] or not parts[1]:
        raise DataError(f"{root}: has too few speakers to hold some out")
    return parts


def speech_features(root: Path, seconds: float, kind: str, held_share: float = 0.5, hop: int = 320, seed: int = 0) -> Speech:
    """Features of about `seconds` of the speech below `root`: `latents` of the shipped codec's encoder, or log-`mel` bands.

    Latents are what that codec's quantizer sees, 50 frames a second; mel frames come every `hop` samples. Each channel has the
    mean 0 over what is to be learned from, so that what a quantizer leaves out stands at the mean.
    """
    convert, about = (latents(), "latents of speech-16k, 50 a second") if kind == "latents" else (mel(hop), f"{BANDS} log-mel")
    parts = speech_waves(root, seconds, held_share, seed)
    train, held = (list(map(convert, waves)) for waves in parts)
    mean = torch.cat(train).mean(0)
    train, held = ([clip - mean for clip in clips] for clips in (train, held))
    if kind != "latents":
        about = f"{about} bands, {RATE / hop:g} frames a second"
    counts = [sum(map(len, part)) for part in (train, held)]
    return Speech(train, held, f"{about}; {counts[0]} frames to learn from, {counts[1]} of other speakers", mean)


def shipped_net() -> CodecNet:
    """The shipped codec in torch, in evaluation mode."""
    folder = find_model(DEFAULT_MODEL)
    net = CodecNet(json.loads((folder / CONFIG).read_text())["codec"])
    weights = load_file(folder / "model.safetensors")
    net.load_state_dict({name: w.float() if w.is_floating_point() else w for name, w in weights.items()})
    return net.eval()


def latents() -> Callable[[Wave], torch.Tensor]:
    """wave (N,) -> latents (T, C) of the shipped codec."""
    net = shipped_net()

    @torch.no_grad()
    def convert(wave: Wave) -> torch.Tensor:
        whole = torch.from_numpy(wave[: len(wave) // net.hop * net.hop])
        return net.latents(whole[None])[0]

    return convert


def mel(hop: int) -> Callable[[Wave], torch.Tensor]:
    """wave (N,) -> natural logarithms (T, BANDS) of mel magnitudes."""
    filters = torch.from_numpy(mel_filters(RATE, WINDOW, BANDS)).float()
    window = torch.hann_window(WINDOW)

    def convert(wave: Wave) -> torch.Tensor:
        spectrum = torch.stft(torch.from_numpy(wave), WINDOW, hop, window=window, return_complex=True)
        return (spectrum.abs().T @ filters).clamp(min=FLOOR).log()

    return convert


def batches(frames: torch.Tensor, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Frames (1, size, C) drawn at random, without end."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        yield frames[torch.randint(len(frames), (size,), generator=draw)][None]


def excerpts(clips: list[torch.Tensor], count: int, length: int, seed: int) -> Iterator[torch.Tensor]:
    """Runs of frames (count, length, C) drawn at random from clips that are long enough, without end."""
    long = [clip for clip in clips if len(clip) >= length]
    if not long:
        raise DataError(f"no clip has {length} frames")
    weight = torch.tensor([float(len(clip) - length + 1) for clip in long])
    draw = torch.Generator().manual_seed(seed)
    while True:
        chosen = torch.multinomial(weight, count, replacement=True, generator=draw)
        starts = (torch.rand(count, generator=draw) * weight[chosen]).long()
        yield torch.stack([long[c][s : s + length] for c, s in zip(chosen.tolist(), starts.tolist(), strict=True)])


def codes_of_clips(clips: list[torch.Tensor], encode: Callable[[torch.Tensor], torch.Tensor]) -> list[NDArray[np.int64]]:
    """Codes (T, K) of each clip (T, C)."""
    with torch.no_grad():
        return [encode(clip).numpy() for clip in clips]
