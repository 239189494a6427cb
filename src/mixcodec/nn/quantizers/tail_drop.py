"""A group of frames as a row of tokens whose tail may be cut off anywhere."""

from collections.abc import Mapping
from typing import Any

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.projected import in_float32, principal_axes
from mixcodec.registry import whole_number


@QUANTIZERS.register("tail_drop")
class TailDrop(Quantizer):
    """Maps every `frames` frames of z (B, T, C) to `tokens` tokens of one codebook, and back; any first few of them will do.

    Miwa et al., 2025, One-D-Piece: Image Tokenizer Meets Quality-Controllable Compression: in training a share `drop` of
    the items keeps a random number of tokens only, so what counts most moves to the front, and a length is chosen for each
    signal when it is encoded. Token k of a group is codebook k of all its frames: the first k codebooks are the first k
    tokens. All tokens share one codebook, that of `codebook` (`dim` numbers a token in, as many out). A last group that is cut
    short goes on with its last frame.
    """

    def __init__(
        self,
        channels: int,
        frames: int = 8,
        tokens: int = 16,
        dim: int = 8,
        drop: float = 0.5,
        codebook: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        whole_number("quantizer 'tail_drop': frames", frames, 1, 1024)
        whole_number("quantizer 'tail_drop': tokens", tokens)
        whole_number("quantizer 'tail_drop': dim", dim)
        if isinstance(drop, bool) or not isinstance(drop, int | float) or not 0 <= drop <= 1:
            raise ConfigError(f"quantizer 'tail_drop': drop is {drop!r}, but must be a number from 0 to 1")
        config = {"kind": "vq", "dim": dim, "metric": "euclidean"} if codebook is None else {"kind": "vq"} | dict(codebook)
        self.codebook = QUANTIZERS.build(config, channels=dim)
        if self.codebook.codebooks != 1:
            raise ConfigError(f"quantizer 'tail_drop': a token must be one code, not {config['kind']!r}")
        self.codebooks, self.size = tokens, self.codebook.size
        self.frames, self.dim, self.drop = frames, dim, drop
        self.enter = torch.nn.Linear(frames * channels, tokens * dim)
        self.leave = torch.nn.Linear(tokens * dim, frames * channels)

    @property
    def strides(self) -> tuple[int, ...]:
        return (self.frames,) * self.codebooks

    def _tokens(self, z: torch.Tensor) -> torch.Tensor:
        """What is quantized, (..., groups, tokens, dim), of z (..., T, C)."""
        return self.enter(self._grouped(z)).unflatten(-1, (self.codebooks, self.dim))

    def _grouped(self, z: torch.Tensor) -> torch.Tensor:
        """(..., groups, frames * C); the last frame of z goes on to the end of its group."""
        length = z.shape[-2]
        groups = torch.arange((length + self.frames - 1) // self.frames, device=z.device)
        index = (groups[:, None] * self.frames + torch.arange(self.frames, device=z.device)).clamp(max=length - 1)
        return z[..., index, :].flatten(-2)

    def _frames(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """Vectors (..., length, C) of tokens (..., groups, k, dim); those that are left out stand for 0."""
        flat = tokens.flatten(-2)
        groups = flat @ self.leave.weight.T[: flat.shape[-1]] + self.leave.bias
        each = groups.unflatten(-1, (self.frames, -1)).flatten(-3, -2)
        return each[..., torch.arange(length, device=each.device), :]

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        if active is None:
            active = torch.full((len(z),), self.codebooks, device=z.device)
            if self.training:
                drawn = torch.randint(1, self.codebooks + 1, (len(z),), device=z.device)
                active = torch.where(torch.rand(len(z), device=z.device) < self.drop, drawn, active)
        with torch.autocast(z.device.type, enabled=False):
            tokens = self._tokens(z.float())
            batch, groups, count, dim = tokens.shape
            kept = (active[:, None] > torch.arange(count, device=z.device))[:, None].expand(-1, groups, -1)
            found = self.codebook(tokens.reshape(-1, 1, dim), kept.reshape(-1).long())
            vectors = self._frames(found.vectors.view(batch, groups, count, dim), z.shape[1]) * (active > 0)[:, None, None]
        codes = self._repeated(found.codes.view(batch, groups, count), z.shape[1])
        return Quantized(codes, vectors, found.loss, found.usage.expand(count))

    def _repeated(self, codes: torch.Tensor, length: int) -> torch.Tensor:
        return codes[..., torch.arange(length, device=codes.device) // self.frames, :]

    @in_float32
    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return self._repeated(self.codebook.vectors_to_codes(self._tokens(z))[..., 0], z.shape[-2])

    @in_float32
    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        length = codes.shape[-2]
        groups = torch.arange((length + self.frames - 1) // self.frames, device=codes.device) * self.frames
        return self._frames(self.codebook.codes_to_vectors(codes[..., groups, :, None]), length)

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Makes the tokens the principal components of groups of z (M, C), M frames in their order, the strongest first."""
        x = self._grouped(z[: len(z) // self.frames * self.frames] if len(z) >= self.frames else z)
        mean, axes = principal_axes(x, self.codebooks * self.dim)
        spread = ((x - mean) @ axes).std(0, correction=0)
        scale = spread.clamp(min=1e-4 * float(spread.max().clamp(min=1e-4)))  # no component weighs more than another
        self.enter.weight.copy_((axes / scale).T)
        self.enter.bias.copy_(-(axes / scale).T @ mean)
        self.leave.weight.copy_(axes * scale)
        self.leave.bias.copy_(mean)
        self.codebook.start(self._tokens(z).flatten(0, -2))
