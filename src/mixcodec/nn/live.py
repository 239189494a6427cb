"""A codec in torch behind the runtime's interface: the same driver, with the network in place of the exported graphs."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import default_codebooks, fingerprint, half_precision
from mixcodec.nn.state import State
from mixcodec.runtime.codec import Codec
from mixcodec.runtime.config import ModelConfig, StateSpec


class LiveSession:
    """One direction of a network with the call of `mixcodec.runtime.session.GraphSession`: numpy in, numpy out."""

    def __init__(
        self, initial_state: Callable[[int], State], step: Callable[[torch.Tensor, State], tuple[torch.Tensor, State]]
    ) -> None:
        self._initial_state, self._step = initial_state, step

    def initial_state(self, batch: int) -> dict[str, NDArray[Any]]:
        return {name: tensor.cpu().numpy() for name, tensor in self._initial_state(batch).items()}

    @torch.no_grad()
    def step(self, value: NDArray[Any], state: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        result, after = self._step(torch.from_numpy(value), {name: torch.from_numpy(array) for name, array in state.items()})
        return result.numpy(), {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in after.items()}


class LiveCodec(Codec):
    """A `Codec` that runs a network (on the CPU, in evaluation mode) without a model folder.

    It runs a copy with the weights rounded as an export rounds them, so that its fingerprint is that of the exported codec.

    wave_to_tokens, tokens_to_wave, stream_encoder and stream_decoder are the runtime's own.
    """

    def __init__(self, net: CodecNet, name: str = "live") -> None:
        self.net = net = half_precision(net)
        super().__init__(
            ModelConfig(
                folder=Path(),
                name=name,
                fingerprint=fingerprint(net),
                sample_rate=net.sample_rate,
                hop=net.hop,
                delay=net.delay,
                codebooks=net.codebooks,
                codebook_size=net.codebook_size,
                default_codebooks=default_codebooks(net),
                encoder_state=_specs(net.encoder_state(1)),
                decoder_state=_specs(net.decoder_state(1)),
                extra={"codec": net.config},
            )
        )

    @property
    def tables(self) -> None:
        """None: tables are learned when a codec is exported."""
        return None

    @cached_property
    def _encoder(self) -> LiveSession:  # type: ignore[override]
        return LiveSession(self.net.encoder_state, self.net.encode)

    @cached_property
    def _decoder(self) -> LiveSession:  # type: ignore[override]
        return LiveSession(self.net.decoder_state, self.net.decode)


def _specs(state: State) -> dict[str, StateSpec]:
    return {name: StateSpec(tuple(tensor.shape[1:]), str(tensor.numpy().dtype)) for name, tensor in state.items()}
