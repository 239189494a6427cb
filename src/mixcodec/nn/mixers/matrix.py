"""The matrix view of mixers: what a linear one does is one matrix; an attention's is one for every signal."""

from typing import cast

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
        told = "the weights of its values come from the signal; take value_matrix, which shows them for one"
        told = told if mixer.values else "nor does it mix values with weights of their own, so it has no matrix"
        raise ConfigError(f"{type(mixer).__name__} is not linear: {told}")
    shape = (*((grid,) if isinstance(grid, int) else grid), channels)
    size = torch.Size(shape).numel()
    if size > MOST:
        raise ConfigError(f"the matrix of {size} numbers would be too large: take at most {MOST}")
    like = next(iter([*mixer.parameters(), *mixer.buffers()]), torch.zeros(()))
    impulses = torch.eye(size, dtype=torch.float32 if like.is_complex() else like.dtype, device=like.device)
    with torch.no_grad():
        response = mixer(impulses.reshape(size, *shape)) - mixer(torch.zeros_like(impulses[:1]).reshape(1, *shape))
    return response.reshape(size, size).T.reshape(*shape, *shape)


def value_matrix(mixer: Mixer, x: torch.Tensor) -> torch.Tensor:
    """M (*grid, V, *grid, V): how a mixer whose weights come from x (*grid, C) mixes its values of V channels.

    With v the values of x and v0 what is added without them, M v + v0 is what the layer `mixed` is given: the last one, `out`,
    or, before norm and gate, a place that is named so. For attention M is the matrix of its weights, one for every head's
    channels; for a recurrence what is left at a token of the one before it. Raises ConfigError for a mixer that states no
    `values`, and where M would be too large.
    """
    if not mixer.values:
        told = "take mixing_matrix" if mixer.linear else "it mixes none linearly with weights of their own"
        raise ConfigError(f"{type(mixer).__name__} has no matrix of values: {told}")
    size = _mixed(mixer, x[None]).numel()
    if size > MOST:
        raise ConfigError(f"the matrix of {size} numbers would be too large: take at most {MOST}")
    impulses = torch.cat([torch.zeros(1, size), torch.eye(size)]).to(x)
    response = _mixed(mixer, x.expand(size + 1, *x.shape), impulses).reshape(size + 1, size)
    shape = (*x.shape[:-1], size // x.shape[:-1].numel())
    return (response[1:] - response[:1]).T.reshape(*shape, *shape)


def _mixed(mixer: Mixer, x: torch.Tensor, values: torch.Tensor | None = None) -> torch.Tensor:
    """What a mixer's layer `mixed` is given of x (B, *grid, C), if given with these `values` (B, N) in place of its own."""
    seen: list[torch.Tensor] = []

    def replace(part: torch.nn.Module, args: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
        own = y if values is None else values.reshape(*y.shape[:-1], -1)
        return torch.cat([y[..., : -own.shape[-1]], own], -1)

    def keep(part: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0])

    hooks = [mixer.get_submodule(cast(str, mixer.values)).register_forward_hook(replace)]
    hooks.append(mixer.get_submodule(mixer.mixed).register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            mixer(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1]
