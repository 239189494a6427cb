"""Short-time Fourier transform with power-compressed complex coefficients."""

import math

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.state import State
from mixcodec.nn.transforms.base import TRANSFORMS, Transform
from mixcodec.nn.transforms.dft import RealDft
from mixcodec.registry import whole_number

FLOOR = 1e-10  # of a squared magnitude, so that silence has a finite gain


def compress(re: torch.Tensor, im: torch.Tensor, power: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Complex numbers with magnitude raised to `power` and the same phase."""
    gain = (re * re + im * im).clamp(min=FLOOR) ** ((power - 1) / 2)  # a sum with FLOOR is dropped as nought on export
    return re * gain, im * gain


def expand(re: torch.Tensor, im: torch.Tensor, power: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse of `compress` (up to FLOOR)."""
    gain = (re * re + im * im) ** ((1 / power - 1) / 2)
    return re * gain, im * gain


@TRANSFORMS.register("stft")
class Stft(Transform):
    """STFT of `2 * hop` samples (square root of Hann at both ends), coefficients z |z|^(power - 1).

    Frame t covers samples [(t - 1) hop, (t + 1) hop); real parts, then imaginary parts, of an orthonormal DFT.
    Compression evens out the loudness of partials (Braun, Tashev, 2020, A consolidated view of loss functions for
    supervised deep learning-based speech enhancement). The DFT is made of matrix products (see `RealDft`), so it needs no
    special operator in an exported graph. Reconstruction is exact up to float32.
    """

    exact = True

    def __init__(self, hop: int, power: float = 0.3) -> None:
        super().__init__()
        if whole_number("transform 'stft': hop", hop, 2) % 2:
            raise ConfigError(f"transform 'stft': hop must be an even number of samples, not {hop}")
        if not 0.05 < power <= 1:
            raise ConfigError(f"transform 'stft': power must lie in (0.05, 1], not {power}")
        self.hop, self.power, self.delay = hop, power, hop
        window, bins = 2 * hop, hop + 1
        self.coefficients, self.feature_channels = 2 * bins, 3 * bins
        self.dft = RealDft(window)
        self.register_buffer("taper", torch.sin(math.pi * (torch.arange(window) + 0.5) / window), persistent=False)
        self.taper: torch.Tensor

    def analysis_state(self, batch: int) -> State:
        return {"past": self.taper.new_zeros(batch, self.hop)}

    def analyse(self, wave: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        with torch.autocast(wave.device.type, enabled=False):
            halves = torch.cat([state["past"], wave.float()], 1).unflatten(1, (-1, self.hop))
            re, im = self.dft(torch.cat([halves[:, :-1], halves[:, 1:]], 2) * self.taper)
            return torch.cat(compress(re, im, self.power), 2), {"past": halves[:, -1]}

    def synthesis_state(self, batch: int) -> State:
        return {"overlap": self.taper.new_zeros(batch, 1, self.hop)}

    def synthesise(self, frames: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        with torch.autocast(frames.device.type, enabled=False):
            re, im = frames.float().chunk(2, 2)
            windows = self.dft.inverse(*expand(re, im, self.power)) * self.taper
            first, second = windows.chunk(2, 2)
            tails = torch.cat([state["overlap"], second], 1)
            return (first + tails[:, :-1]).flatten(1), {"overlap": tails[:, -1:]}

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """The coefficients and their magnitudes: (B, T, 3 * (hop + 1))."""
        re, im = frames.chunk(2, 2)
        return torch.cat([frames, (re * re + im * im + 1e-6).sqrt()], 2)
