"""Any quantizer as a layer: what a channel mixer says, in codes."""

from collections.abc import Mapping
from typing import Any

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, with_loss
from mixcodec.nn.quantizers import QUANTIZERS


@CHANNELS.register("bottleneck")
class Bottleneck(ChannelMixer):
    """quantizer(channel(x)): (..., C) -> (..., C), by way of a few codes a token.

    Tamkin et al., 2023, Codebook Features: Sparse and Discrete Interpretability for Neural Networks. `quantizer` is
    any one of that family whose codes depend on one token alone. Its loss, `weight` times, joins whatever is minimised when
    the gradient comes back, so a block need not know of it. `codes` reads what is in the codes, `force` says what they say.
    Cost per token: those of the two. No state.
    """

    def __init__(
        self,
        channels: int,
        channel: Mapping[str, Any] | str = "mlp",
        quantizer: Mapping[str, Any] | str = "codebook_features",
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ConfigError(f"channel mixer 'bottleneck': weight is {weight!r}, but must be a number from 0 up")
        self.channel = CHANNELS.build(channel, channels=channels)
        self.quantizer = QUANTIZERS.build(quantizer, channels=channels)
        if self.quantizer.stride > 1:
            kind = quantizer if isinstance(quantizer, str) else quantizer["kind"]
            raise ConfigError(f"channel mixer 'bottleneck': a token has to be coded alone, which {kind!r} does not do")
        if not self.channel.causal or self.channel.initial_state(1):
            raise ConfigError("channel mixer 'bottleneck': a token has to be mixed alone, but its channel mixer sees neighbours")
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.channel(x)
        if torch.compiler.is_compiling():
            return self.force(self.quantizer.vectors_to_codes(y)).to(x.dtype)
        quantized = self.quantizer(y.reshape(1, -1, y.shape[-1]))
        return with_loss(quantized.vectors, self.weight * quantized.loss).view_as(y).to(x.dtype)

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes (..., K) of tokens x (..., C)."""
        return self.quantizer.vectors_to_codes(self.channel(x))

    def force(self, codes: torch.Tensor) -> torch.Tensor:
        """What the block is told (..., C) where the codes are `codes` (..., k)."""
        return self.quantizer.codes_to_vectors(codes)
