"""The matrix view of mixers: what a linear one does is one matrix."""

import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import Mixer

MOST = 1 << 12  # numbers in a signal: the matrix is the square of it


def mixing_matrix(mixer: Mixer, grid: int | tuple[int, ...], channels: int) -> torch.Tensor:
    """M (*grid, C, *grid, C) with mixer(x)[i, c] = sum_jd M[i, c, j, d] x[j, d] + mixer(0)[i, c], x of one `grid` (or length).

    Hwang et al., 2024, Hydra: Bidirectional State Space Models Through Generalized Matrix Mixers, look at mixers so. Found
    by sending in unit impulses. Raises ConfigError for a mixer that is not linear.
    """
    if not mixer.linear:
        raise ConfigError(f"{type(mixer).__name__} is not linear: what it does to a token depends on others, so it has no matrix")
    shape = (*((grid,) if isinstance(grid, int) else grid), channels)
    size = torch.Size(shape).numel()
    if size > MOST:
        raise ConfigError(f"the matrix of {size} numbers would be too large: take at most {MOST}")
    like = next(iter([*mixer.parameters(), *mixer.buffers()]), torch.zeros(()))
    impulses = torch.eye(size, dtype=torch.float32 if like.is_complex() else like.dtype, device=like.device)
    with torch.no_grad():
        response = mixer(impulses.reshape(size, *shape)) - mixer(torch.zeros_like(impulses[:1]).reshape(1, *shape))
    return response.reshape(size, size).T.reshape(*shape, *shape)
