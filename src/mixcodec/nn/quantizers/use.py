"""How much each entry of a codebook is used: running counts, and the perplexity of them."""

import torch

from mixcodec.nn.processes import sum_over_processes

DECAY = 0.99  # of the counts of use, a training step


def count_use(count: torch.Tensor, codes: torch.Tensor, kept: torch.Tensor) -> None:
    """Moves `count` (size,) or (K, size), in place, to the use that all processes' `codes` (..., K) make of the entries.

    `kept`, of the shape of the codes, marks those that count. With one row of counts all codebooks share it.
    """
    size = count.shape[-1]
    if count.ndim > 1:
        codes = codes + size * torch.arange(len(count), device=codes.device)
    found = torch.bincount(codes[kept], minlength=count.numel()).to(count)
    sum_over_processes(found)
    count.lerp_(found.view_as(count), 1 - DECAY)


def perplexity_share(count: torch.Tensor) -> torch.Tensor:
    """Perplexity of the counts (K, size) as a share of the size, in (0, 1], (K,)."""
    p = count / count.sum(-1, keepdim=True)
    return (torch.exp(-(p * (p + 1e-10).log()).sum(-1)) / count.shape[-1]).clamp(max=1)
