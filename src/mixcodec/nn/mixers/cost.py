"""What a mixer costs for a token, and what its stream carries: counted, the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mixcodec.nn.mixers.base import Mixer

PRODUCTS = (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,)
TRANSFORMS = (torch.ops.aten._fft_c2c, torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r)
COMPLEX = 5.0
"""Operations of a Fourier transform, a complex number and doubling of its length; between real and complex numbers half."""


class Cost(NamedTuple):
    """Of a mixer in one form, for one item."""

    operations: float
    """For a token: multiplications and additions of products and of Fourier transforms, and numbers written by everything
    else."""
    state: int
    """Numbers that a stream carries from token to token; 0 where there is no stream."""


def cost(mixer: Mixer, channels: int, grid: tuple[int, ...] = (256,)) -> Cost:
    """What `mixer` costs on a grid of that shape, on the CPU. Raises ConfigError for a grid of a rank that it doesn't serve."""
    x = torch.zeros(1, *grid, channels)
    state = sum(t.numel() for t in mixer.initial_state(1).values()) if mixer.causal else 0
    return Cost(work(lambda: mixer(x)) / (x.numel() / channels), state)


class Work(TorchDispatchMode):
    """Counts, inside `with`, multiplications and additions of products and of Fourier transforms, and all numbers written.

    Exact and the same on every machine. A Fourier transform counts as 5 n log2(n) for n complex numbers and as half of that
    from or to n real ones, whatever n's factors (Cooley and Tukey, 1965, An Algorithm for the Machine Calculation of Complex
    Fourier Series); over several axes n is that of the whole grid, and other axes are many transforms.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total: float = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in PRODUCTS:
            query, key = args[0], args[1]
            self.total += 4 * query.numel() * key.shape[-2]
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        elif packet in TRANSFORMS:
            signal = out if packet is torch.ops.aten._fft_c2r else args[0]
            factor = COMPLEX if signal.is_complex() else COMPLEX / 2
            self.total += factor * signal.numel() * math.log2(math.prod(signal.shape[axis] for axis in args[1]))
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
    """What `run` computes, in numbers written and operations of products and Fourier transforms, rounded down."""
    with torch.no_grad(), Work() as counter:
        run()
    return int(counter.total)
