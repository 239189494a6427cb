"""Heads that synthesise at finer steps than frames: a free spectrum, or pulses and noise that the network filters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.heads.base import HEADS, PITCH_SECONDS, Head
from mixcodec.nn.heads.source import CYCLE, PERIOD, looped_noise, noise_tables, pulses, since_onset
from mixcodec.nn.metaformer import Stack
from mixcodec.nn.mixers.scan import wide
from mixcodec.nn.state import State, inside, scoped
from mixcodec.nn.transforms.dft import RealDft
from mixcodec.nn.transforms.stft import Stft
from mixcodec.registry import nearest, whole_number

SPREADS = ("linear", "learned")
LOUDEST = 6.0  # natural logarithm of the greatest gain of a filter
HARMONIC_START, NOISE_START = -4.0, -6.0  # of a filter's gain, so that a voice begins near the level of speech
FREE_POWER = 0.5
CUES = 4
"""Harmonics whose phase at a step the network is told."""
ONSET = 0.3
"""How voiced a step must be for the voice to set in: phase and noise then begin anew."""
NEAR = 3
"""Bins beside the likeliest one that have a say in the pitch."""


@HEADS.register("fine")
class Fine(Head):
    """A frame's features become `steps` finer ones, thin blocks (`width`, `stages`) run over them, and each gives a spectrum.

    With `spread` linear they run straight from one frame's features to the next one's, so that no step of a frame differs from
    another but by what is coded; `learned`, each step has weights of its own, which can leave a pattern that repeats every
    frame: a buzz.

    Spectra of windows of `overlap` fine steps (square root of Hann, orthonormal DFT) are added up: with steps of 5 ms the phase
    of a harmonic turns less than a few times from one to the next, so it can be followed (Vocos: Siuzdak, 2023, Closing the gap
    between time-domain and Fourier-based neural vocoders, at a frame's steps). Real and imaginary parts leave the network with
    their magnitude raised to the power 0.5. With `steps` 1 it is the synthesis at frame rate, with windows of `overlap` frames.

    `frame_below` > 0 adds a second spectrum a frame (window of two frames, magnitudes to the power `power`), as the transform
    `stft` has, up to that frequency in Hz.

    The delay is a frame, or what the windows take if that is more: overlap - 1 steps. State: the block's; `overlap`, the tail
    of the last windows; `feature`, the last frame's; `frame.overlap`.
    """

    parts = 2
    """Numbers a bin that leave the fine blocks: those of the free spectrum."""
    cues = 0
    """Numbers a step that the fine blocks are told beside the features."""

    def __init__(
        self,
        hop: int,
        sample_rate: int,
        width: int = 160,
        stages: Sequence[Mapping[str, Any]] = (),
        steps: int = 4,
        overlap: int = 4,
        spread: str = "linear",
        frame_below: float = 0,
        power: float = 0.3,
    ) -> None:
        super().__init__()
        if spread not in SPREADS:
            raise ConfigError(f"head: spread is {spread!r}: {nearest(spread, list(SPREADS))}")
        whole_number("head: steps", steps, 1, hop)
        whole_number("head: overlap", overlap, 2, 16)
        whole_number("head: width", width)
        if hop % steps or hop // steps * overlap % 2:
            raise ConfigError(f"head: steps is {steps}, but must divide the hop of {hop} samples, with windows of even length")
        self.hop, self.steps, self.overlap, self.width, self.sample_rate = hop, steps, overlap, width, sample_rate
        self.fine = hop // steps
        self.window = self.fine * overlap
        self.bins = self.window // 2 + 1
        self.delay = max(hop, self.window - self.fine)
        self.dft = RealDft(self.window)
        taper = torch.sin(math.pi * (torch.arange(self.window) + 0.5) / self.window)
        self.register_buffer("taper", taper, persistent=False)
        self.taper: torch.Tensor
        self.level = 2 / overlap
        """What overlapping windows add up to, undone."""
        self.net = Stack(width + self.cues, self.parts * self.bins, width, list(stages))
        self.frame = Stft(hop, power) if frame_below else None
        if self.frame and self.delay != hop:
            raise ConfigError("head: a spectrum a frame (frame_below) has a delay of one frame, these windows have more")
        if not 0 <= frame_below <= sample_rate / 2:
            raise ConfigError(f"head: frame_below is {frame_below} Hz, but must lie between 0 and half the sample rate")
        self.low = min(hop + 1, round(frame_below * 2 * hop / sample_rate) + 1) if frame_below else 0
        self.linear = spread == "linear"
        self.inputs = (1 if self.linear else steps) * width + 2 * self.low

    def initial_state(self, batch: int) -> State:
        state = {"overlap": self.taper.new_zeros(batch, self.overlap - 1, self.fine)}
        state |= scoped("net", self.net.initial_state(batch))
        state |= {"feature": self.taper.new_zeros(batch, 1, self.width)} if self.linear else {}
        return state | (scoped("frame", self.frame.synthesis_state(batch)) if self.frame else {})

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        low, features = x.split([2 * self.low, self.inputs - 2 * self.low], 2)
        features, last = self._finer(features, state)
        spectrum, after = self._spectrum(features, state)
        wave, overlap = self._add_up(spectrum, state["overlap"])
        after |= last | {"overlap": overlap}
        if self.frame:
            below, frame = self.frame.synthesise(self._padded(low), inside("frame", state))
            wave, after = wave + below, after | scoped("frame", frame)
        return wave, after

    def _finer(self, features: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The features of the fine steps (B, T * steps, width) of those of frames, and the state after them."""
        if not self.linear:
            return features.unflatten(2, (self.steps, self.width)).flatten(1, 2), {}
        before = torch.cat([state["feature"].to(features), features[:, :-1]], 1)[:, :, None]
        share = torch.arange(1, self.steps + 1, device=features.device)[:, None].to(features) / self.steps
        finer = before + (features[:, :, None] - before) * share
        return finer.flatten(1, 2), {"feature": wide(features[:, -1:])}

    def _padded(self, low: torch.Tensor) -> torch.Tensor:
        """All coefficients of a frame: nothing above `frame_below`."""
        return torch.cat([F.pad(part, (0, self.hop + 1 - self.low)) for part in low.chunk(2, 2)], 2)

    def _spectrum(self, features: torch.Tensor, state: State) -> tuple[tuple[torch.Tensor, torch.Tensor], State]:
        """Real and imaginary parts (B, T * steps, bins) of the windows, and the state after them."""
        y, net = self.net.step(features, inside("net", state))
        with torch.autocast(y.device.type, enabled=False):
            return self._free(*wide(y).chunk(2, 2)), scoped("net", net)

    def _free(self, re: torch.Tensor, im: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gain = (re * re + im * im) ** ((1 / FREE_POWER - 1) / 2)
        return re * gain, im * gain

    def _add_up(self, spectrum: tuple[torch.Tensor, torch.Tensor], overlap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Wave (B, T * hop) of the next windows, and the tails that what follows is added to (B, overlap - 1, fine)."""
        with torch.autocast(overlap.device.type, enabled=False):
            windows = self.dft.inverse(*spectrum) * (self.taper * self.level)
            blocks = windows.unflatten(2, (self.overlap, self.fine))
            count = windows.shape[1]
            total = F.pad(overlap, (0, 0, 0, count))
            for i in range(self.overlap):
                total = total + F.pad(blocks[:, :, i], (0, 0, i, self.overlap - 1 - i))
            return total[:, :count].flatten(1), total[:, count:]


@HEADS.register("harmonic")
class Harmonic(Fine):
    """`fine`, with a voice of its own: pulses at a pitch that is read from the features, and noise, each through a filter.

    spectrum = pulses * exp(h + i pi tanh(p)) + noise * exp(n): h, p and n, a bin and step, are what the thin blocks give, and
    if `free` the spectrum of `fine` is added to it. The pitch, `bins_per_octave` classes an octave between `lowest` and
    `highest` Hz, and how voiced a step is, are read by a small perceptron; `auxiliary` teaches it. The phase of the pulses runs
    on in the state, so harmonics stay coherent over any number of frames, until the voice sets in again: there phase and noise
    begin anew, so that a decoder that begins within a signal soon gives the same samples as one that has heard it all. The
    blocks are told the phase of the first harmonics, the pitch and the voicing. No gradient goes through the pulses.

    After Wang, Takaki, Yamagishi, 2019, Neural source-filter-based waveform model for statistical parametric speech synthesis,
    and Engel et al., 2020, DDSP: Differentiable Digital Signal Processing; filters in the short-time spectrum in place of theirs
    in time.

    State: besides `fine`'s, `phase` and `place` (whole numbers), `last` (pitch and voicing at the last step), `past`, the
    source's last samples.
    """

    parts = 3
    cues = 2 * CUES + 2

    def __init__(
        self,
        hop: int,
        sample_rate: int,
        width: int = 160,
        stages: Sequence[Mapping[str, Any]] = (),
        steps: int = 4,
        overlap: int = 4,
        spread: str = "linear",
        frame_below: float = 0,
        power: float = 0.3,
        free: bool = False,
        lowest: float = 50,
        highest: float = 600,
        bins_per_octave: int = 36,
    ) -> None:
        if not isinstance(free, bool):
            raise ConfigError(f"head 'harmonic': free is {free!r}, but must be true or false")
        self.free, self.parts = free, 5 if free else 3
        super().__init__(hop, sample_rate, width, stages, steps, overlap, spread, frame_below, power)
        if not 20 <= lowest < highest <= sample_rate / 4:
            raise ConfigError(f"head 'harmonic': lowest and highest are {lowest} and {highest} Hz, but must rise from 20 Hz up")
        self.lowest, self.per_octave = lowest, whole_number("head 'harmonic': bins_per_octave", bins_per_octave, 12, 240)
        self.pitches = math.ceil(math.log2(highest / lowest) * bins_per_octave) + 1
        self.pitch_in = torch.nn.Linear(width, 96)
        self.pitch_out = torch.nn.Linear(96, self.pitches + 1)
        for i, table in enumerate(noise_tables()):
            self.register_buffer(f"noise_{i}", table, persistent=False)
        self.noise_0: torch.Tensor
        self.noise_1: torch.Tensor
        start = torch.zeros(self.parts, self.bins)
        start[0], start[2] = HARMONIC_START, NOISE_START
        with torch.no_grad():
            self.net.leave.weight *= 0.5
            self.net.leave.weight[3 * self.bins :] *= 0.2
            self.net.leave.bias.copy_(start.flatten())

    def initial_state(self, batch: int) -> State:
        past = self.window - self.fine
        zero = self.taper.new_zeros
        return super().initial_state(batch) | {
            "phase": zero(batch).long(),
            "place": zero(batch).long(),
            "last": zero(batch, 2),
            "past": zero(batch, 2, past),
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.initial_state(x.shape[0])
        if self.training:  # or every item would be taught with the same stretch of noise
            state["place"] = torch.randint(PERIOD, state["place"].shape, device=x.device)
        return self.step(x, state)[0]

    def _spectrum(self, features: torch.Tensor, state: State) -> tuple[tuple[torch.Tensor, torch.Tensor], State]:
        f0, voiced = self.pitch(features)
        with torch.autocast(features.device.type, enabled=False):
            windows, cues, after = self._source(f0.detach(), voiced.detach(), state)
            (re, noise_re), (im, noise_im) = (part.unbind(1) for part in self.dft(windows * self.taper))
        y, net = self.net.step(torch.cat([features, cues.to(features)], 2), inside("net", state))
        with torch.autocast(y.device.type, enabled=False):
            loud, turn, noise, *free = wide(y).chunk(self.parts, 2)
            gain, angle = loud.clamp(max=LOUDEST).exp(), math.pi * torch.tanh(turn)
            cos, sin, soft = gain * angle.cos(), gain * angle.sin(), noise.clamp(max=LOUDEST).exp()
            real = re * cos - im * sin + noise_re * soft
            imaginary = re * sin + im * cos + noise_im * soft
            if self.free:
                free_re, free_im = self._free(*free)
                real, imaginary = real + free_re, imaginary + free_im
            return (real, imaginary), scoped("net", net) | after

    def pitch(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fundamental frequency in Hz and how voiced, 0 to 1, both (B, T * steps), of the fine features (B, T * steps, width)."""
        scores, voiced = self._pitch_scores(features)
        best = scores.argmax(2, keepdim=True)
        bins = torch.arange(self.pitches, device=scores.device)
        near = ((bins - best).abs() <= NEAR).to(scores)
        weight = scores.softmax(2) * near
        bin = (weight @ bins.to(scores)) / weight.sum(2)
        return self.lowest * torch.exp2(bin / self.per_octave), voiced.sigmoid()

    def _pitch_scores(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.pitch_out(F.gelu(self.pitch_in(features), approximate="tanh"))
        y = wide(y)
        return y[..., :-1], y[..., -1]

    def _source(self, f0: torch.Tensor, voiced: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        """Windows (B, 2, T * steps, window) of pulses and noise that end at each step, what the network is told, the state."""
        count = f0.shape[1]
        last = state["last"]
        known = (last[:, :1] > 0).to(f0)  # before the first step there is no pitch: it begins with the first one's
        track = torch.cat([last[:, :1] * known + f0[:, :1] * (1 - known), f0], 1)
        amount = torch.cat([last[:, 1:], voiced], 1)
        onset = (amount[:, :-1] < ONSET) & (amount[:, 1:] >= ONSET)
        train, phase = pulses(track, state["phase"], onset, self.fine, self.sample_rate)
        places, place = since_onset(torch.full_like(phase, self.fine), state["place"], onset)
        ramp = torch.arange(1, self.fine + 1, dtype=f0.dtype, device=f0.device) / self.fine
        swell = (amount[:, :-1, None] + (amount[:, 1:] - amount[:, :-1])[..., None] * ramp).flatten(1)
        noise = looped_noise([self.noise_0, self.noise_1], places, self.fine)
        sound = torch.cat([state["past"], torch.stack([train * swell, noise], 1)], 2)
        blocks = sound.unflatten(2, (-1, self.fine))
        windows = torch.cat([blocks[:, :, i : i + count] for i in range(self.overlap)], 3)
        harmonics = torch.arange(1, CUES + 1, dtype=f0.dtype, device=f0.device)
        turned = 2 * math.pi * (phase[..., None].to(f0) / CYCLE) * harmonics
        high = torch.log2(f0 / self.lowest)[..., None] - 1.5
        cues = torch.cat([turned.cos() * voiced[..., None], turned.sin() * voiced[..., None], high, voiced[..., None]], 2)
        after = {
            "phase": phase[:, -1],
            "place": place[:, -1] % PERIOD,
            "last": torch.stack([f0[:, -1], voiced[:, -1]], 1),
            "past": sound[:, :, count * self.fine :],
        }
        return windows, cues, after

    def auxiliary(self, x: torch.Tensor, pitch: torch.Tensor) -> dict[str, torch.Tensor]:
        """`pitch`: cross-entropy of the pitch's class (its neighbours count too) where it is voiced, and of voicing."""
        features, _ = self._finer(x[..., 2 * self.low :], {"feature": x.new_zeros(x.shape[0], 1, self.width)})
        scores, voiced = self._pitch_scores(features)
        ends = torch.arange(scores.shape[1], device=x.device) * self.fine + self.window - self.delay  # of the steps' windows
        at = (ends / (PITCH_SECONDS * self.sample_rate)).round().long()
        truth = pitch[:, at[at < pitch.shape[1]]]
        scores, voiced = scores[:, : truth.shape[1]], voiced[:, : truth.shape[1]]
        sounding = (truth > 0).to(scores)
        bin = torch.log2(truth.clamp(min=self.lowest) / self.lowest) * self.per_octave
        away = torch.arange(self.pitches, device=scores.device) - bin.clamp(max=self.pitches - 1)[..., None]
        target = torch.exp(-0.5 * away.square())
        target = target / target.sum(2, keepdim=True)
        missed = -(target * scores.log_softmax(2)).sum(2)
        known = (missed * sounding).sum() / sounding.sum().clamp(min=1)
        return {"pitch": known + F.binary_cross_entropy_with_logits(voiced, sounding)}
