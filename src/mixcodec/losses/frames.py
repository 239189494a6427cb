"""Windows of a wave, cut so that their gradient is cheap."""

import torch


def framed(wave: torch.Tensor, window: int, hop: int) -> torch.Tensor:
    """The windows (..., T, window) of a wave (..., N) that lie `hop` apart, `window` a multiple of it: `unfold`, by slices.

    The gradient of `unfold` adds up sample by sample; that of a few slices is as many sums of whole blocks.
    """
    count = (wave.shape[-1] - window) // hop + 1
    blocks = wave[..., : (count - 1) * hop + window].unflatten(-1, (-1, hop))
    return torch.cat([blocks[..., i : i + count, :] for i in range(window // hop)], -1)
