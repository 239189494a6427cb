"""Attention's query-key-value frame filled with large depthwise kernels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, TwoForms, kernel_size, ranks
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.state import State, inside, scoped
from mixcodec.registry import whole_number

Operation = Callable[[torch.Tensor], torch.Tensor]


def query_key_value(query: torch.Tensor, compare: Operation, activate: Operation, aggregate: Operation) -> torch.Tensor:
    """aggregate(activate(compare(query))): the MetaMixer, whose sub-operations are free.

    With compare = products with keys, activate = softmax, aggregate = products with values it is attention.
    """
    return aggregate(activate(compare(query)))


@MIXERS.register("large_kernel_qkv")
class LargeKernelQkv(TwoForms):
    """FFNified attention: the query is compared with large depthwise 'keys', activated by GELU, summed by depthwise 'values'.

    Yun et al., 2024, MetaMixer Is All You Need. Keys and values are weights, `expansion` of each a channel, so the cost is
    linear: per token 2 * C^2 + 2 * expansion * C * kernel^rank. (B, *grid, C), causal along time or centred on a grid of
    `rank` 1 or 2. State: the last kernel - 1 tokens before the keys, and before the values.
    """

    def __init__(self, channels: int, kernel: int = 15, expansion: int = 2, causal: bool = True, rank: int = 1) -> None:
        super().__init__()
        self.grid_ranks = ranks("large_kernel_qkv", causal, rank)
        kernel_size("large_kernel_qkv", kernel, causal)
        whole_number("mixer 'large_kernel_qkv': expansion", expansion)
        self.causal, wide = causal, expansion * channels
        self.query = torch.nn.Linear(channels, channels)
        self.key = Depthwise(channels, kernel, causal, rank, outputs=wide, bias=True)
        self.value = Depthwise(wide, kernel, causal, rank, outputs=channels, groups=channels, bias=True)
        self.out = torch.nn.Linear(channels, channels)

    def start(self, batch: int) -> State:
        return scoped("key", self.key.initial_state(batch)) | scoped("value", self.value.initial_state(batch))

    def mix(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        after: State = {}

        def run(name: str, part: Depthwise, x: torch.Tensor) -> torch.Tensor:
            y, new = part.step(x, inside(name, state))
            after.update(scoped(name, new))
            return y

        compare = lambda q: run("key", self.key, q)  # noqa: E731
        aggregate = lambda a: run("value", self.value, a)  # noqa: E731
        return self.out(query_key_value(self.query(x), compare, F.gelu, aggregate)), after
