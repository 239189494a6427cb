"""Neural peers (EnCodec, DAC, Mimi) through their ports in the `transformers` package.

wave (N,) --NeuralPort.wave_to_codes--> codes (T, K) --pack--> file --unpack--> codes --NeuralPort.codes_to_wave--> wave (N',)

How good they are takes trained weights, which the user has to bring. How fast they are and what they hold in memory does
not depend on the values of the weights: `random_peer` builds the published architectures for that.

A clip always goes through a network alone and whole. In a batch, the zeros that the shorter clips are filled up with
change the last frames of a convolutional codec, and more where there is attention or a norm over time.
"""

from __future__ import annotations

import abc
import functools
import json
import math
import struct
import zlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave, read_audio, resample, write_audio
from mixcodec.errors import AudioError, BitstreamError, ModelError, RateError, UsageError
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.evaluate.baselines.bits import pack, packed_bytes, unpack
from mixcodec.extras import need_package

EXTRA = "bench"
HEADER = struct.Struct("<IIB")
"""Of a coded file: samples (at the model's rate), frames, codebooks. The packed codes follow, frame by frame."""
KBPS_TOLERANCE = 0.01
"""Relative: 7.75 means the 7.7515 kbps of nine codebooks."""


class NeuralPort(abc.ABC):
    """A loaded `transformers` codec behind numpy: wave to codes and back. Its ways of being called differ by family."""

    family: ClassVar[str]
    """The `model_type` in the port's config.json."""
    classes: ClassVar[tuple[str, str]]
    """Names of the model's class and of its configuration's in `transformers`."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self.sample_rate = int(model.config.sampling_rate)
        self.codebook_size = int(model.config.codebook_size)

    @property
    @abc.abstractmethod
    def frame_rate(self) -> float:
        """Frames per second, Hz."""

    @property
    @abc.abstractmethod
    def choices(self) -> list[int]:
        """The numbers of codebooks that can be asked for, rising."""

    @property
    @abc.abstractmethod
    def default_codebooks(self) -> int:
        """What is used where no bitrate is asked for: what the codec is usually quoted at."""

    @abc.abstractmethod
    def _encode(self, wave: Any, codebooks: int) -> Any:
        """Codes (1, K, T) of a wave (1, 1, N)."""

    @abc.abstractmethod
    def _decode(self, codes: Any) -> Any:
        """The wave, N samples in any shape, of codes (1, K, T)."""

    @property
    def code_bits(self) -> int:
        """Bits of a code when packed."""
        return math.ceil(math.log2(self.codebook_size))

    def kbps(self, codebooks: int) -> float:
        """Bits of the codes alone for each second, kbps."""
        return codebooks * self.code_bits * self.frame_rate / 1000

    def codebooks_for(self, kbps: float | None) -> int:
        """The number of codebooks that costs `kbps`; None asks for the default.

        Raises:
            RateError: no number of codebooks costs that; the message lists what they cost.
        """
        if kbps is None:
            return self.default_codebooks
        for count in self.choices:
            if math.isclose(kbps, self.kbps(count), rel_tol=KBPS_TOLERANCE):
                return count
        known = ", ".join(f"{self.kbps(count):.4g}" for count in self.choices)
        raise RateError(f"{self.family} cannot code at {kbps:g} kbps; with these weights it can at {known}")

    def wave_to_codes(self, wave: Wave, codebooks: int) -> NDArray[np.int64]:
        """Codes (T, K) of a whole mono wave (N,) at the model's rate."""
        import torch

        with torch.inference_mode():
            codes = self._encode(torch.from_numpy(np.ascontiguousarray(wave))[None, None], codebooks)
        return np.ascontiguousarray(codes[0].numpy().T.astype(np.int64))

    def codes_to_wave(self, codes: NDArray[np.int64]) -> Wave:
        """The wave (N',) of codes (T, K); N' may be more or less than what was coded."""
        import torch

        with torch.inference_mode():
            wave = self._decode(torch.from_numpy(np.ascontiguousarray(codes.T))[None])
        return np.asarray(wave.reshape(-1).numpy(), np.float32)


class EncodecPort(NeuralPort):
    """EnCodec of the 24 kHz kind: mono, causal, the whole clip in one piece."""

    family = "encodec"
    classes = ("EncodecModel", "EncodecConfig")

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if model.config.normalize or model.config.chunk_length_s is not None or model.config.audio_channels != 1:
            raise ModelError("these EnCodec weights code stereo, or in chunks with scales; give those of the 24 kHz model")

    @property
    def frame_rate(self) -> float:
        return self.sample_rate / int(self.model.config.hop_length)

    @property
    def _bandwidths(self) -> dict[int, float]:
        count = self.model.quantizer.get_num_quantizers_for_bandwidth
        return {int(count(kbps)): float(kbps) for kbps in sorted(self.model.config.target_bandwidths)}

    @property
    def choices(self) -> list[int]:
        return list(self._bandwidths)

    @property
    def default_codebooks(self) -> int:
        return min(self.choices, key=lambda count: abs(self.kbps(count) - 6))

    def _encode(self, wave: Any, codebooks: int) -> Any:
        return self.model.encode(wave, bandwidth=self._bandwidths[codebooks]).audio_codes[0]

    def _decode(self, codes: Any) -> Any:
        return self.model.decode(codes[None], [None]).audio_values


class DacPort(NeuralPort):
    """DAC; it is given whole frames, as its own preprocessing does, because it would drop what is left over."""

    family = "dac"
    classes = ("DacModel", "DacConfig")

    @property
    def frame_rate(self) -> float:
        return self.sample_rate / int(self.model.config.hop_length)

    @property
    def choices(self) -> list[int]:
        return list(range(1, int(self.model.config.n_codebooks) + 1))

    @property
    def default_codebooks(self) -> int:
        return self.choices[-1]

    def _encode(self, wave: Any, codebooks: int) -> Any:
        import torch

        missing = -wave.shape[-1] % int(self.model.config.hop_length)
        return self.model.encode(torch.nn.functional.pad(wave, (0, missing)), n_quantizers=codebooks).audio_codes

    def _decode(self, codes: Any) -> Any:
        return self.model.decode(audio_codes=codes).audio_values


class MimiPort(NeuralPort):
    """Mimi, offline: the whole clip in one call."""

    family = "mimi"
    classes = ("MimiModel", "MimiConfig")

    @property
    def frame_rate(self) -> float:
        return float(self.model.config.frame_rate)

    @property
    def choices(self) -> list[int]:
        least = int(self.model.config.num_semantic_quantizers)
        return list(range(least, int(self.model.config.num_quantizers) + 1))

    @property
    def default_codebooks(self) -> int:
        return min(8, self.choices[-1])  # as Moshi uses it: 1.1 kbps

    def _encode(self, wave: Any, codebooks: int) -> Any:
        return self.model.encode(wave, num_quantizers=codebooks).audio_codes

    def _decode(self, codes: Any) -> Any:
        return self.model.decode(codes).audio_values


PORTS: dict[str, type[NeuralPort]] = {port.family: port for port in (EncodecPort, DacPort, MimiPort)}


@dataclass(frozen=True)
class Architecture:
    """A published configuration."""

    title: str
    family: str
    sample_rate: int
    options: dict[str, Any]
    """Of the port's configuration, where its defaults are another model's."""


DAC_RATIOS = [2, 4, 5, 8]
ARCHITECTURES: dict[str, Architecture] = {
    # Défossez et al., 2022, High Fidelity Neural Audio Compression. The port's defaults are this model.
    "encodec": Architecture("EnCodec 24 kHz", "encodec", 24000, {}),
    # Kumar et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN; conf/final in descript-audio-codec. The
    # port's defaults are none of the three: the ratios and codebooks of 44.1 kHz at the rate of 16 kHz.
    "dac": Architecture(
        "DAC 16 kHz", "dac", 16000, {"sampling_rate": 16000, "downsampling_ratios": DAC_RATIOS, "n_codebooks": 12}
    ),
    "dac-24k": Architecture(
        "DAC 24 kHz", "dac", 24000, {"sampling_rate": 24000, "downsampling_ratios": DAC_RATIOS, "n_codebooks": 32}
    ),
    "dac-44k": Architecture(
        "DAC 44.1 kHz", "dac", 44100, {"sampling_rate": 44100, "downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9}
    ),
    # Défossez et al., 2024, Moshi: a speech-text foundation model for real-time dialogue. The port's defaults again.
    "mimi": Architecture("Mimi", "mimi", 24000, {}),
}


def random_peer(kind: str, seed: int = 0, **changes: Any) -> NeuralPort:
    """A published architecture with random weights; `changes` are those of its configuration, for a smaller one.

    Raises:
        MissingPartError: torch or transformers is not installed.
    """
    architecture = ARCHITECTURES[kind]
    port = PORTS[architecture.family]
    transformers = _transformers(kind)
    import torch

    torch.manual_seed(seed)
    model_class, config_class = (getattr(transformers, name) for name in port.classes)
    model = model_class(config_class(**architecture.options | changes))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            # Fresh codebooks of EnCodec and Mimi are all zero, so that every code would be the same.
            if name.rsplit(".", 1)[-1] in ("embed", "embed_sum"):
                buffer.normal_()
    return port(model)


@functools.lru_cache(maxsize=1)
def load_peer(family: str, folder: str) -> NeuralPort:
    """The port with the trained weights of a folder, as `save_pretrained` writes them.

    Raises:
        ModelError: there is no such folder, or what is in it is another model or not whole.
        MissingPartError: torch or transformers is not installed.
    """
    path = Path(folder)
    how = f"give a folder with the {family} weights in the format of transformers"
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder}: has no config.json that names a model; {how}") from None
    if found != family:
        raise ModelError(f"{folder}: is a model of type {found}; {how}")
    port = PORTS[family]
    model_class = getattr(_transformers(family), port.classes[0])
    try:
        # Weights that are not in the folder would silently stay random.
        model, about = model_class.from_pretrained(path, local_files_only=True, output_loading_info=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{folder}: cannot be loaded ({reason}); {how}") from None
    if missing := sorted(about["missing_keys"]):
        raise ModelError(f"{folder}: lacks {len(missing)} of the weights, such as {missing[0]}; {how}")
    return port(model)


def check_packages(kind: str) -> None:
    """Raise MissingPartError where torch or transformers is not installed."""
    need_package("torch", EXTRA, kind)
    need_package("transformers", EXTRA, kind)


def _transformers(kind: str) -> Any:
    need_package("torch", EXTRA, kind)
    transformers: Any = need_package("transformers", EXTRA, kind)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


class NeuralCoder(Coder):
    """A peer with trained weights. The ports have no file format, so the codes are packed here, each to its bits."""

    settings = "kbps"
    takes_model = True
    suffix = ".codes"

    def check(self) -> None:
        if self.model is None:
            raise ModelError(
                f"the quality of {self.kind} needs trained weights: give their folder, as in {self.kind}:FOLDER@KBPS "
                "(speed and memory need none: mixcodec bench)"
            )
        self._port.codebooks_for(self.setting)

    def version(self) -> str:
        weights = sorted(path for path in Path(self.model or ".").glob("*") if path.suffix in (".safetensors", ".bin", ".json"))
        state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
        return f"transformers {version('transformers')}, weights {zlib.crc32(repr(state).encode()):08x}"

    def encode(self, source: Path, target: Path) -> None:
        wave, rate = read_audio(source)
        if wave.ndim > 1:
            raise UsageError(f"{self.kind} codes one channel; evaluate it on mono")
        if not wave.size:
            raise AudioError(f"{source}: has no samples; leave it out")
        wave = resample(wave, rate, self._port.sample_rate)
        codes = self._port.wave_to_codes(wave, self._port.codebooks_for(self.setting))
        header = HEADER.pack(len(wave), *codes.shape)
        target.write_bytes(header + pack(codes, self._port.code_bits))

    def decode(self, source: Path, target: Path) -> None:
        count, codes = self._read(source)
        wave = self._port.codes_to_wave(codes)[:count]
        write_audio(target, np.pad(wave, (0, count - len(wave))), self._port.sample_rate)

    def codes(self, coded: Path) -> tuple[NDArray[np.int64], int] | None:
        return self._read(coded)[1], self._port.codebook_size

    def _read(self, coded: Path) -> tuple[int, NDArray[np.int64]]:
        """The sample count and the codes (T, K) of a coded file."""
        data = coded.read_bytes()
        bits = self._port.code_bits
        if len(data) < HEADER.size:
            raise BitstreamError(f"{coded}: is cut short; encode it again")
        count, frames, codebooks = HEADER.unpack_from(data)
        if len(data) != HEADER.size + packed_bytes(frames * codebooks, bits):
            raise BitstreamError(f"{coded}: does not have the length that its header gives; encode it again")
        return count, unpack(data[HEADER.size :], frames * codebooks, bits).reshape(frames, codebooks)

    @property
    def _port(self) -> NeuralPort:
        return load_peer(self.kind, str(self.model))


@CODERS.register("encodec")
class Encodec(NeuralCoder):
    """EnCodec 24 kHz (Défossez et al., 2022, High Fidelity Neural Audio Compression)."""

    kind = "encodec"
    source = "EnCodec 24 kHz, the port in transformers; no file format of its own: 9 bytes and 10 bits a code"


@CODERS.register("dac")
class Dac(NeuralCoder):
    """DAC (Kumar et al., 2023, High-Fidelity Audio Compression with Improved RVQGAN)."""

    kind = "dac"
    source = "DAC, the port in transformers; its file format is a pickle, so here: 9 bytes and 10 bits a code"


@CODERS.register("mimi")
class Mimi(NeuralCoder):
    """Mimi (Défossez et al., 2024, Moshi: a speech-text foundation model for real-time dialogue)."""

    kind = "mimi"
    source = "Mimi, the port in transformers; no file format of its own: 9 bytes and 11 bits a code"
