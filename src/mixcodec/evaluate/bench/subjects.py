"""What is measured: mixcodec's own models, neural peers with random weights, Opus. The one protocol they answer to."""

from __future__ import annotations

import abc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mixcodec.audio import read_audio
from mixcodec.errors import UsageError
from mixcodec.evaluate.baselines.neural import ARCHITECTURES, PORTS, check_packages, random_peer
from mixcodec.evaluate.bench.flops import ProfiledCodec, torch_flops
from mixcodec.evaluate.bench.results import DIRECTIONS
from mixcodec.extras import need_program
from mixcodec.models import PLAIN, split_variant
from mixcodec.registry import nearest
from mixcodec.runtime import load

COMMAND = (sys.executable, "-c", "import sys; from mixcodec.cli.main import main; sys.exit(main())")
"""What the console script `mixcodec` does, in this interpreter."""
OPUS_KBPS = 6


@dataclass
class Runner:
    """A loaded codec and one clip, in a process of their own."""

    encode: Callable[[], object]
    decode: Callable[[], object]
    flops: Callable[[str], tuple[int, list[str]]] | None
    """Direction -> operations for the whole clip and what of it could not be counted; None where this cannot be known."""


class Measured(abc.ABC):
    """A codec to be measured. Describing it is cheap; `load` is for a process of its own."""

    kind: ClassVar[str]
    note: ClassVar[str]
    """How it is run."""
    memory_directions: ClassVar[tuple[str, ...]] = DIRECTIONS
    name: str
    """As on the command line; no two alike."""
    title: str
    """With its bitrate."""
    sample_rate: int
    """Hz that it is given, so that nobody's time has resampling in it."""
    imports: str | None = None
    """The Python statement that a program begins with to use it; None where its start is measured otherwise."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raise a MixcodecError, in one line, where it cannot be measured here."""

    @abc.abstractmethod
    def load(self, clip: Path, threads: int) -> Runner:
        """Make ready to code the wav `clip`, which is at `sample_rate`."""

    @abc.abstractmethod
    def command(self, direction: str, source: Path, target: Path) -> list[str]:
        """A whole process that codes (or decodes) the file `source` into `target`."""


class Ours(Measured):
    """A model of mixcodec at its highest bitrate; the variant of one is named like ``speech-16k:int8``."""

    kind = "mixcodec"
    note = "the runtime; memory is that of the command mixcodec"

    def __init__(self, name: str) -> None:
        self.name = name
        self._model, variant = split_variant(name)
        self._codec = load(self._model, variant=variant)
        self._kbps = self._codec.max_kbps()
        shown = "" if self._codec.variant == PLAIN else f" {self._codec.variant}"
        self.title = f"{self._codec.name}{shown} {self._kbps:g} kbps"
        self.sample_rate = self._codec.sample_rate

    def check(self) -> None:
        pass

    def load(self, clip: Path, threads: int) -> Runner:
        wave, rate = read_audio(clip)
        codec = load(self._model, threads, self._codec.variant)
        tokens = codec.wave_to_tokens(wave, rate, codebooks=codec.codebooks)

        def flops(direction: str) -> tuple[int, list[str]]:
            profiled = ProfiledCodec(codec.config, variant=codec.variant)
            if direction == "encode":
                profiled.wave_to_tokens(wave, rate, codebooks=codec.codebooks)
            else:
                profiled.tokens_to_wave(tokens)
            return profiled.count(direction)

        def encode() -> object:
            return codec.wave_to_tokens(wave, rate, codebooks=codec.codebooks)

        return Runner(encode, lambda: codec.tokens_to_wave(tokens), flops)

    def command(self, direction: str, source: Path, target: Path) -> list[str]:
        options = ["--model", self._model, "--variant", self._codec.variant]
        options += ["--kbps", str(self._kbps)] if direction == "encode" else []
        return [*COMMAND, direction, str(source), "-o", str(target), *options]


class Neural(Measured):
    """A published architecture with random weights, through its port in transformers."""

    kind = "neural"
    note = "transformers, float32, random weights; memory is that of a process that imports it and codes in one call"
    memory_directions = ("encode",)

    def __init__(self, name: str) -> None:
        architecture = ARCHITECTURES[name]
        self.name = name
        self.title = architecture.title
        self.sample_rate = architecture.sample_rate
        self.imports = f"from transformers import {PORTS[architecture.family].classes[0]}"

    def check(self) -> None:
        check_packages(self.name)

    def load(self, clip: Path, threads: int) -> Runner:
        check_packages(self.name)
        import torch

        torch.set_num_threads(threads)
        port = random_peer(self.name)
        codebooks = port.default_codebooks
        self.title = f"{self.title} {port.kbps(codebooks):.3g} kbps"
        wave, _ = read_audio(clip)
        codes = port.wave_to_codes(wave, codebooks)

        def encode() -> object:
            return port.wave_to_codes(wave, codebooks)

        def decode() -> object:
            return port.codes_to_wave(codes)

        return Runner(encode, decode, lambda direction: (torch_flops(encode if direction == "encode" else decode), []))

    def command(self, direction: str, source: Path, target: Path) -> list[str]:
        return worker_command({"measured": to_json(self), "clip": str(source), "threads": 1, "only": direction})


class Opus(Measured):
    """Opus as its own programs, start and files included: what a user has today."""

    kind = "opus"
    note = "opusenc --speech and opusdec, one thread: whole processes, their start and their files included"

    def __init__(self, name: str = "opus") -> None:
        self.name = name
        self.title = f"Opus {OPUS_KBPS} kbps"
        self.sample_rate = 16000

    def check(self) -> None:
        for program in ("opusenc", "opusdec"):
            need_program(program, "opus-tools", "opus")

    def load(self, clip: Path, threads: int) -> Runner:
        coded, decoded = clip.with_name(f"{clip.stem}-{threads}.opus"), clip.with_name(f"{clip.stem}-{threads}.opus.wav")
        encode, decode = (self.command("encode", clip, coded), self.command("decode", coded, decoded))
        subprocess.run(encode, check=True)
        return Runner(lambda: subprocess.run(encode, check=True), lambda: subprocess.run(decode, check=True), None)

    def command(self, direction: str, source: Path, target: Path) -> list[str]:
        if direction == "encode":
            return ["opusenc", "--quiet", "--speech", "--bitrate", str(OPUS_KBPS), str(source), str(target)]
        return ["opusdec", "--quiet", "--rate", str(self.sample_rate), "--force-wav", str(source), str(target)]


PEERS: dict[str, type[Measured]] = dict.fromkeys(ARCHITECTURES, Neural) | {"opus": Opus}
KINDS: dict[str, type[Measured]] = {kind.kind: kind for kind in (Ours, Neural, Opus)}
DEFAULT_PEERS = ("encodec", "dac", "mimi", "opus")


def peer(name: str) -> Measured:
    """The peer of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name not in PEERS:
        raise UsageError(f"unknown peer {name!r}: {nearest(name, list(PEERS))}")
    return PEERS[name](name)  # type: ignore[call-arg]


def to_json(measured: Measured) -> list[str]:
    """What another process needs to make the same."""
    return [measured.kind, measured.name]


def from_json(plain: list[str]) -> Measured:
    """The inverse of `to_json`."""
    kind, name = plain
    return KINDS[kind](name)  # type: ignore[call-arg]


def worker_command(task: dict[str, Any]) -> list[str]:
    """The process that does a task of `mixcodec.evaluate.bench.worker`."""
    return [sys.executable, "-m", "mixcodec.evaluate.bench.worker", json.dumps(task)]
