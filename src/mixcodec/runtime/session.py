"""One graph of a model folder, run by onnxruntime with its state passed in and out."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.errors import ModelError
from mixcodec.models import PLAIN, graph_name
from mixcodec.runtime.config import ModelConfig

State = dict[str, NDArray[Any]]
"""The named tensors that a graph carries from one block to the next, each (B, *shape)."""

TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
SILENT = 4
"""Of onnxruntime's levels: it prints nothing about what it raises too."""

_LOADING = threading.Lock()
_LOADED: weakref.WeakSet[GraphSession] = weakref.WeakSet()


def loading() -> threading.Lock:
    """What a thread holds while it loads a graph, so that no other loads it too."""
    return _LOADING


class GraphSession:
    """A loaded graph: `step(value, state) -> (value, state)`. Any number of threads may call it at once.

    A forked process loads the graph anew when it first needs it: onnxruntime's threads do not live on there. So does one that
    the session was pickled for.

    Args:
        direction: "encoder", wave (B, t * hop) -> codes (B, t, K), or "decoder", codes (B, t, k) -> wave (B, t * hop).
        config: of the model folder. The graph takes ``state.<name>`` and gives ``new_state.<name>`` for every state of it.
        threads: CPU threads of one step; 0 for as many as there are cores.
        variant: of the graphs.

    Attributes:
        path: the .onnx file.

    Raises:
        ModelError: the file is missing, damaged, of another model, or does not have the inputs and outputs that config.json
            describes; `step`, where what it computes is not what config.json describes.
    """

    def __init__(self, direction: str, config: ModelConfig, threads: int = 1, variant: str = PLAIN) -> None:
        self.path = config.folder / graph_name(direction, variant)
        self._encodes = direction == "encoder"
        self._config = config
        self._threads = threads
        self._specs = config.encoder_state if self._encodes else config.decoder_state
        self._source, target = ("wave", "codes") if self._encodes else ("codes", "wave")
        self._outputs = [target, *(f"new_state.{name}" for name in self._specs)]
        self._session: Any = self._load(self._options())
        _LOADED.add(self)

    def initial_state(self, batch: int) -> State:
        """All zeros, for `batch` channels."""
        return {name: np.zeros((batch, *spec.shape), spec.dtype) for name, spec in self._specs.items()}

    def step(self, value: NDArray[Any], state: State) -> tuple[NDArray[Any], State]:
        """Run the graph on one block (B, ...) and return its output and the state after it."""
        session = self._session or self._again()
        feeds = {self._source: value, **{f"state.{name}": array for name, array in state.items()}}
        try:
            result, *states = session.run(self._outputs, feeds)
        except Exception as error:  # onnxruntime's classes share no nearer base
            raise self._bad(f"cannot be run ({_first_line(error)})") from None
        if not self._fits(value, result):
            raise self._bad("its results do not match config.json")
        return result, dict(zip(self._specs, states, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _LOADED.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphSession:
        return self  # it holds nothing that a step changes

    def _again(self) -> Any:
        with loading():
            if self._session is None:
                self._session = self._load(self._options())
            return self._session

    def _options(self) -> Any:
        import onnxruntime

        onnxruntime.set_default_logger_severity(SILENT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # The fusions beyond this level cost a third of the loading time and gain nothing on these graphs.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = SILENT
        # Blocks differ in length, so neither a plan nor a growing arena pays: both only raise the peak.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False
        return options

    def _load(self, options: Any) -> Any:
        import onnxruntime

        if self.path.is_dir():
            raise self._bad("is a directory, not a graph")
        if not self.path.is_file():
            raise self._bad("no such file")
        try:
            session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise self._bad(f"cannot be loaded ({_first_line(error)})") from None
        self._check(session)
        return session

    def _check(self, session: Any) -> None:
        """Raise ModelError unless the graph's inputs and outputs are those of config.json, as far as it fixes them."""
        theirs = session.get_modelmeta().custom_metadata_map.get("fingerprint")
        if theirs not in (None, self._config.fingerprint):
            raise self._bad(f"is a graph of the model {theirs}, not of {self._config.name} {self._config.fingerprint}")
        wave = ("float32", (None, None))
        codes = ("int64", (None, None, self._config.codebooks))
        states = {name: (spec.dtype, (None, *spec.shape)) for name, spec in self._specs.items()}
        inputs = {self._source: wave if self._encodes else codes, **{f"state.{name}": of for name, of in states.items()}}
        results = [codes if self._encodes else wave, *states.values()]
        outputs = dict(zip(self._outputs, results, strict=True))
        found_inputs = {entry.name: entry for entry in session.get_inputs()}
        found_outputs = {entry.name: entry for entry in session.get_outputs()}
        if inputs.keys() != found_inputs.keys() or not outputs.keys() <= found_outputs.keys():
            raise self._bad("its inputs and outputs do not match config.json")
        for wanted, found in ((inputs, found_inputs), (outputs, found_outputs)):
            for name, (dtype, shape) in wanted.items():
                entry = found[name]
                if entry.type != TYPES[dtype] or not _agree(entry.shape, shape):
                    is_of = f"{entry.type} {tuple(entry.shape)}"
                    raise self._bad(f"its {name!r} is {is_of}, which does not match config.json")

    def _fits(self, value: NDArray[Any], result: NDArray[Any]) -> bool:
        hop, books = self._config.hop, self._config.codebooks
        if not self._encodes:
            return result.shape == (value.shape[0], value.shape[1] * hop)
        if result.shape != (value.shape[0], value.shape[1] // hop, books):
            return False
        return not result.size or bool(result.min() >= 0 and result.max() < self._config.codebook_size)

    def _bad(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: {what}; export the model again")


def _agree(found: Sequence[Any], wanted: Sequence[int | None]) -> bool:
    """Whether a graph's declared shape, in which names stand for any size, allows the wanted one; [] declares nothing."""
    if not found:
        return True
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(size is None or not isinstance(has, int) or has == size for has, size in pairs)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _forget_loaded() -> None:
    """In a forked process: sessions are given up, and never freed, which would wait for threads that live in the parent."""
    global _LOADING
    _LOADING = threading.Lock()
    lost = [loaded for loaded in _LOADED if loaded._session is not None]
    if lost:
        import ctypes

        for loaded in lost:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(loaded._session))
            loaded._session = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loaded)
