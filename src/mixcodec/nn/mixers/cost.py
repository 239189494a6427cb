"""What a mixer costs for a token, and what its stream carries: counted, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mixcodec.nn.mixers.base import Mixer

PRODUCTS = (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,)


class Cost(NamedTuple):
    """Of a mixer in one form, for one item."""

    operations: float
    """For a token: multiplications and additions of products, and numbers written by everything else."""
    state: int
    """Numbers that a stream carries from token to token; 0 where there is no stream."""


def cost(mixer: Mixer, channels: int, grid: tuple[int, ...] = (256,)) -> Cost:
    """What `mixer` costs on a grid of that shape, on the CPU. Raises ConfigError for a grid of a rank that it doesn't serve."""
    x = torch.zeros(1, *grid, channels)
    state = sum(t.numel() for t in mixer.initial_state(1).values()) if mixer.causal else 0
    return Cost(work(lambda: mixer(x)) / (x.numel() / channels), state)


class Work(TorchDispatchMode):
    """Counts, inside `with`, multiplications and additions of products and numbers written by everything else.

    Exact and the same on every machine; a Fourier transform of n numbers counts as n, so its log n is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in PRODUCTS:
            query, key = args[0], args[1]
            self.total += 4 * query.numel() * key.shape[-2]
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        given = {t.untyped_storage().data_ptr() for t in _tensors(args)}
        self.total += sum(t.numel() for t in _tensors(out) if t.untyped_storage().data_ptr() not in given)
        return out


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def work(run: Callable[[], Any]) -> int:
    """What `run` computes, in numbers written and operations of products."""
    with torch.no_grad(), Work() as counter:
        run()
    return int(counter.total)
