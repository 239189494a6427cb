"""What every head promises: the decoder's last features -> wave, where a transform's own synthesis is not to do it."""

import torch

from mixcodec.nn.state import State
from mixcodec.registry import Registry

PITCH_SECONDS = 0.005


class Head(torch.nn.Module):
    """Features (B, T, inputs) -> wave (B, T * hop), `delay` samples behind the encoder's input, in blocks with carried state.

    `forward` is `step` from the initial state, so a stream is what the whole would be.
    """

    hop: int
    """Samples a frame."""
    delay: int
    inputs: int
    """Numbers that the decoder's stack is to give a frame."""

    def initial_state(self, batch: int) -> State:
        raise NotImplementedError

    def step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, self.initial_state(x.shape[0]))[0]

    def auxiliary(self, x: torch.Tensor, pitch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses, by name, of what the head reads from its features x (B, T, inputs) on the way to the wave, beside the truth.

        `pitch` (B, N) is the fundamental frequency in Hz, 0 where there is none, every `PITCH_SECONDS` of what the encoder was
        given.
        """
        return {}


HEADS: Registry[Head] = Registry("head")
