"""What every transform promises."""

import torch

from mixcodec.nn.state import State
from mixcodec.registry import Registry


class Transform(torch.nn.Module):
    """Wave (B, N) <-> frames (B, T, coefficients), N = T * hop, in blocks of whole frames with carried state.

    `analyse` is causal: frame t needs samples before (t + 1) * hop. `synthesise` gives hop samples a frame, `delay`
    samples behind: the wave that comes out is the wave that went in, shifted by `delay`, if `exact`.
    `features` are what a network should see of a frame.
    """

    hop: int
    delay: int
    coefficients: int
    feature_channels: int
    exact: bool

    def analysis_state(self, batch: int) -> State:
        raise NotImplementedError

    def analyse(self, wave: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        raise NotImplementedError

    def synthesis_state(self, batch: int) -> State:
        raise NotImplementedError

    def synthesise(self, frames: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        raise NotImplementedError

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def wave_to_frames(self, wave: torch.Tensor) -> torch.Tensor:
        """Frames (B, T, coefficients) of a whole wave (B, T * hop): `analyse` from the initial state."""
        return self.analyse(wave, self.analysis_state(len(wave)))[0]

    def frames_to_wave(self, frames: torch.Tensor) -> torch.Tensor:
        """Wave (B, T * hop), `delay` samples behind, of whole frames: `synthesise` from the initial state."""
        return self.synthesise(frames, self.synthesis_state(len(frames)))[0]


TRANSFORMS: Registry[Transform] = Registry("transform", outside=True)
