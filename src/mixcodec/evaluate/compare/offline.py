"""Codecs that only a comparison needs: those that look ahead."""

from __future__ import annotations

import torch

from mixcodec.nn.codec import CodecNet
from mixcodec.nn.state import State, inside


class OfflineNet(CodecNet):
    """A codec whose mixers may look ahead: `encode` and `decode` take whole clips and leave the stacks' state alone."""

    streams = False

    def encoder_state(self, batch: int) -> State:
        return {f"transform.{name}": t for name, t in self.transform.analysis_state(batch).items()}

    def encode(self, wave: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        frames, _ = self.transform.analyse(wave, inside("transform", state))
        return self.quantizer.vectors_to_codes(self.encoder(self.transform.features(frames))), state

    def decoder_state(self, batch: int) -> State:
        return {f"transform.{name}": t for name, t in self.transform.synthesis_state(batch).items()}

    def decode(self, codes: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        frames = self.decoder(self.quantizer.codes_to_vectors(codes))
        return self.transform.synthesise(frames, inside("transform", state))[0], state
