"""Floating-point operations of a codec, counted the same way in onnxruntime graphs and in torch networks.

What counts: two operations for each multiply-add of convolutions (plain and transposed), matrix products (attention and
the distances to a codebook's entries among them) and LSTM layers. What does not: Fourier transforms done as such,
elementwise work, norms, softmax, biases. A product whose cost cannot be known is named in `uncounted`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from mixcodec.runtime.codec import Codec
from mixcodec.runtime.config import ModelConfig
from mixcodec.runtime.session import GraphSession
from mixcodec.temporary import temporary_folder

Shape = Sequence[int]

UNKNOWN = frozenset(
    {
        *("Attention", "GroupQueryAttention", "MultiHeadAttention", "QAttention"),
        *("ConvInteger", "DeformConv", "FusedConv", "QLinearConv"),
        *("Einsum", "FusedMatMul", "MatMulInteger", "MatMulNBits", "QGemm", "QLinearMatMul"),
        *("GRU", "LSTM", "RNN"),
    }
)
"""Operators that multiply much, of which the profile alone does not tell how much."""


class ProfiledSession(GraphSession):
    """A graph session that keeps the shapes of all that its graph computes."""

    def __init__(self, direction: str, config: ModelConfig, variant: str) -> None:
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(temporary_folder())
        super().__init__(direction, config, 1, variant)

    def _options(self) -> Any:
        return profiling_options(self._folder)

    def count(self) -> tuple[int, list[str]]:
        """End the profile: operations since the beginning, and what could not be counted."""
        events = json.loads(Path(self._session.end_profiling()).read_text())
        self._stack.close()
        return profile_flops(events)


class ProfiledCodec(Codec):
    """A codec whose graphs are profiled while its usual driver runs them, block by block."""

    @cached_property
    def _encoder(self) -> ProfiledSession:
        return ProfiledSession("encoder", self.config, self.variant)

    @cached_property
    def _decoder(self) -> ProfiledSession:
        return ProfiledSession("decoder", self.config, self.variant)

    def count(self, direction: str) -> tuple[int, list[str]]:
        """Operations of all that was encoded, or decoded, with this object; ends the profile."""
        return (self._encoder if direction == "encode" else self._decoder).count()


def profiling_options(folder: Path) -> Any:
    """Session options with which the profile names every operand; it is written into `folder`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_prepacking", "1")  # weights repacked ahead have no shape any more
    return options


def profile_flops(events: Iterable[dict[str, Any]]) -> tuple[int, list[str]]:
    """Operations in the parsed profile of an onnxruntime session, and the operators that could not be counted."""
    total, uncounted = 0, set()
    for event in events:
        arguments = event.get("args", {})
        if event.get("cat") != "Node" or "output_type_shape" not in arguments:
            continue
        operator = arguments["op_name"]
        if operator in UNKNOWN:
            uncounted.add(operator)
            continue
        inputs, outputs = (
            [next(iter(entry.values())) for entry in arguments[side]] for side in ("input_type_shape", "output_type_shape")
        )
        total += node_flops(operator, inputs, outputs[0] if outputs else [])
    return total, sorted(uncounted)


def node_flops(operator: str, inputs: Sequence[Shape], output: Shape) -> int:
    """Operations of one node by the shapes of its operands; 0 for what is no product."""
    if operator in ("MatMul", "MatMulIntegerToFloat"):
        return 2 * math.prod(output) * inputs[0][-1]
    if operator == "Gemm":  # the shared axis is first or last, by an attribute: it is what A has beside the output's rows
        return 2 * math.prod(output) * (math.prod(inputs[0]) // output[0]) if math.prod(output) else 0
    if operator == "Conv":  # weight (C_out, C_in / groups, *kernel)
        return 2 * math.prod(output) * math.prod(inputs[1][1:])
    if operator == "ConvTranspose":  # weight (C_in, C_out / groups, *kernel)
        return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])
    return 0


def torch_flops(call: Callable[[], object]) -> int:
    """Operations of what a call computes with torch on the CPU.

    The fused attention, LSTM and distance kernels of the CPU are unknown to torch's own counter, which sees 0 in them:
    attention is made to run as plain products, the other two are counted here.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    formulas: dict[Any, Any] = {aten.mkldnn_rnn_layer: _lstm_flops}
    formulas |= dict.fromkeys((aten._cdist_forward, aten._euclidean_dist), _distance_flops)
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return int(counter.get_total_flops())


def _lstm_flops(steps: Shape, from_input: Shape, from_state: Shape, *_: Any, **__: Any) -> int:
    """One layer in one direction: input (T, B, C), weights (4 H, C) and (4 H, H)."""
    return 2 * steps[0] * steps[1] * (math.prod(from_input) + math.prod(from_state))


def _distance_flops(rows: Shape, others: Shape, *_: Any, **__: Any) -> int:
    """Every one of rows (*, P, D) against every one of others (*, R, D)."""
    return 2 * math.prod(rows) * others[-2]
