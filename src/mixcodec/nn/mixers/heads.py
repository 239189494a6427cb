"""What mixers with heads share."""

import torch

EPSILON = 1e-6


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, ..., C) -> (B, ..., heads, C / heads)."""
    return x.unflatten(-1, (heads, -1))


def head_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x (..., heads, D), each head divided by its root mean square, as (..., heads * D) times `weight` (heads * D,)."""
    x = x.float()
    x = x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    return x.flatten(-2).to(weight.dtype) * weight
