"""One graph of a model folder, run by onnxruntime with its state passed in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.errors import ModelError
from mixcodec.runtime.config import StateSpec

State = dict[str, NDArray[Any]]
"""The named tensors that a graph carries from one block to the next, each (B, *shape)."""


class GraphSession:
    """A loaded graph: `step(value, state) -> (value, state)`.

    Args:
        path: the .onnx file.
        source, target: names of its one input and one output beside the state.
        specs: the state by name; the graph takes ``state.<name>`` and gives ``new_state.<name>``.
        threads: CPU threads of one step.

    Raises:
        ModelError: the file is missing, damaged, or does not have these inputs and outputs.
    """

    def __init__(self, path: Path, source: str, target: str, specs: dict[str, StateSpec], threads: int) -> None:
        import onnxruntime

        if not path.is_file():
            raise ModelError(f"{path}: no such file; export the model again")
        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The fusions beyond this level cost a third of the loading time and gain nothing on these graphs.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # Blocks differ in length, so neither a plan nor a growing arena pays: both only raise the peak.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's classes share no nearer base
            raise ModelError(f"{path}: cannot be loaded ({_first_line(error)}); export the model again") from None
        self._source = source
        self._specs = specs
        self._outputs = [target, *(f"new_state.{name}" for name in specs)]
        wanted = {source, *(f"state.{name}" for name in specs)}
        found = {entry.name for entry in self._session.get_inputs()}
        if wanted != found or not {entry.name for entry in self._session.get_outputs()} >= set(self._outputs):
            raise ModelError(f"{path}: its inputs and outputs do not match config.json; export the model again")

    def initial_state(self, batch: int) -> State:
        """All zeros, for `batch` channels."""
        return {name: np.zeros((batch, *spec.shape), spec.dtype) for name, spec in self._specs.items()}

    def step(self, value: NDArray[Any], state: State) -> tuple[NDArray[Any], State]:
        """Run the graph on one block (B, ...) and return its output and the state after it."""
        feeds = {self._source: value, **{f"state.{name}": array for name, array in state.items()}}
        result, *states = self._session.run(self._outputs, feeds)
        return result, dict(zip(self._specs, states, strict=True))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
