"""Streaming state: a flat dict of named tensors, batch first, that is passed and never hidden."""

from collections.abc import Mapping

import torch

State = dict[str, torch.Tensor]


def scoped(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    """The same tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def inside(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    """The tensors whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in state.items() if name.startswith(start)}


def outside(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    """The tensors whose names don't begin with `prefix.`."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(f"{prefix}.")}
