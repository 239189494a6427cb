"""The matrix view of mixers: what a linear one does is one matrix; an attention's is one for every signal."""

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


def value_matrix(mixer: Mixer, x: torch.Tensor) -> torch.Tensor:
    """M (*grid, C, *grid, C): how a mixer whose weights come from x (*grid, C) mixes its values, before its last layer `out`.

    With v the values of x and v0 what is added without them, out(M v + v0) is the mixer's output of x. For attention M is
    the matrix of its weights, one for every head's channels. Raises ConfigError for a mixer that states no `values`.
    """
    if not mixer.values:
        raise ConfigError(
            f"{type(mixer).__name__} doesn't mix values linearly with weights of their own, so it has no such matrix"
        )
    if x.numel() > MOST:
        raise ConfigError(f"the matrix of {x.numel()} numbers would be too large: take at most {MOST}")
    size, channels = x.numel(), x.shape[-1]
    impulses = torch.cat([torch.zeros(1, size), torch.eye(size)]).to(x).reshape(size + 1, -1, channels)
    seen: list[torch.Tensor] = []

    def replace(part: torch.nn.Module, args: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
        return torch.cat([y[..., :-channels], impulses.reshape(*y.shape[:-1], channels)], -1)

    def keep(part: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0])

    hooks = [mixer.get_submodule(mixer.values).register_forward_hook(replace)]
    hooks.append(mixer.get_submodule("out").register_forward_pre_hook(keep))
    try:
        with torch.no_grad():
            mixer(x.expand(size + 1, *x.shape))
    finally:
        for hook in hooks:
            hook.remove()
    response = seen[-1].reshape(size + 1, size)
    return (response[1:] - response[:1]).T.reshape(*x.shape, *x.shape)
