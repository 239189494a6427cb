"""A tiny codec for the tests, made by hand as two ONNX graphs: the runtime is tested without torch and without training.

The encoder weighs the previous and the current frame with a triangular window and quantizes the mean; the decoder adds
the overlapping windows up again. So the codec carries slow signals, one hop late, and every mistake in its alignment,
its padding or its carried state is seen. With waves on a grid of 1/256 all its sums are exact in float32.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some tests import onnxruntime before anything of mixcodec

HOP, RATE, K, SIZE = 320, 16000, 8, 1024
FINGERPRINT = "00112233445566778899aabbccddeeff"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        if absent := [program for program in mark.args if not shutil.which(program)]:
            pytest.skip(f"needs {', '.join(absent)}")


def _window() -> np.ndarray:
    rise = np.round((np.arange(HOP) + 0.5) / HOP * 64) / 64
    return np.concatenate([rise, 1 - rise]).astype(np.float32)


def _graph(name, nodes, inputs, outputs, constants):
    from onnx import TensorProto, checker, helper, numpy_helper

    kinds = {"float": TensorProto.FLOAT, "int": TensorProto.INT64}
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes],
        name,
        [helper.make_tensor_value_info(n, kinds[kind], shape) for n, kind, shape in inputs],
        [helper.make_tensor_value_info(n, kinds[kind], shape) for n, kind, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), n) for n, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def _encoder() -> bytes:
    generator = np.random.default_rng(1)
    # column 0: mean of the window; the others: whatever, to give every codebook lively codes
    weights = generator.integers(-64, 65, (2 * HOP, K)).astype(np.float32) / 64
    weights[:, 0] = _window()
    scale = np.full(K, 7.0, np.float32)
    scale[0] = 512 / HOP
    nodes = [
        ("Reshape", ["wave", "frame_shape"], ["frames"], {}),
        ("Unsqueeze", ["state.tail", "one"], ["tail"], {}),
        ("Slice", ["frames", "zero", "minus", "one"], ["earlier"], {}),
        ("Concat", ["tail", "earlier"], ["previous"], {"axis": 1}),
        ("Concat", ["previous", "frames"], ["pairs"], {"axis": 2}),
        ("MatMul", ["pairs", "weights"], ["sums"], {}),
        ("Mul", ["sums", "scale"], ["levels"], {}),
        ("Round", ["levels"], ["rounded"], {}),
        ("Cast", ["rounded"], ["integers"], {"to": 7}),
        ("Shape", ["frames"], ["shape"], {}),
        ("Gather", ["shape", "one_scalar"], ["count"], {}),
        ("Range", ["zero_scalar", "count", "one_scalar"], ["steps"], {}),
        ("Add", ["state.position", "steps"], ["positions"], {}),
        ("Unsqueeze", ["positions", "two"], ["column"], {}),
        ("Mul", ["column", "per_codebook"], ["turned"], {}),
        ("Add", ["integers", "turned"], ["moved"], {}),
        ("Add", ["moved", "half"], ["centred"], {}),
        ("Mod", ["centred", "size"], ["codes"], {}),
        ("Slice", ["frames", "minus", "end", "one"], ["last"], {}),
        ("Squeeze", ["last", "one"], ["new_state.tail"], {}),
        ("Add", ["state.position", "count"], ["new_state.position"], {}),
    ]
    constants = {
        "frame_shape": np.int64([0, -1, HOP]),
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "two": np.int64([2]),
        "minus": np.int64([-1]),
        "end": np.int64([1 << 40]),
        "zero_scalar": np.int64(0),
        "one_scalar": np.int64(1),
        "weights": weights,
        "scale": scale,
        "per_codebook": np.int64([0, 1, 2, 3, 5, 7, 11, 13]),  # codes depend on the carried position
        "half": np.int64(SIZE // 2),
        "size": np.int64(SIZE),
    }
    inputs = [("wave", "float", ["B", "N"]), ("state.tail", "float", ["B", HOP]), ("state.position", "int", ["B", 1])]
    outputs = [
        ("codes", "int", ["B", "T", K]),
        ("new_state.tail", "float", ["B", HOP]),
        ("new_state.position", "int", ["B", 1]),
    ]
    return _graph("encoder", nodes, inputs, outputs, constants)


def _decoder() -> bytes:
    generator = np.random.default_rng(2)
    table = generator.integers(-4, 5, (K, SIZE)).astype(np.float32) / 4096  # the later codebooks: a little dust
    table[0] = (np.arange(SIZE) - SIZE // 2) / (SIZE // 2)
    nodes = [
        ("Shape", ["codes"], ["shape"], {}),
        ("Gather", ["shape", "two_scalar"], ["k"], {}),
        ("Range", ["zero_scalar", "k", "one_scalar"], ["books"], {}),
        ("Mul", ["books", "size"], ["offsets"], {}),
        ("Add", ["codes", "offsets"], ["rows"], {}),
        ("Gather", ["table", "rows"], ["values"], {}),
        ("ReduceSum", ["values", "last_axis"], ["level"], {"keepdims": 1}),
        ("Mul", ["level", "window"], ["windows"], {}),
        ("Split", ["windows", "halves"], ["first", "second"], {"axis": 2}),
        ("Unsqueeze", ["state.overlap", "one"], ["overlap"], {}),
        ("Slice", ["second", "zero", "minus", "one"], ["earlier"], {}),
        ("Concat", ["overlap", "earlier"], ["carried"], {"axis": 1}),
        ("Add", ["first", "carried"], ["frames"], {}),
        ("Reshape", ["frames", "wave_shape"], ["wave"], {}),
        ("Slice", ["second", "minus", "end", "one"], ["last"], {}),
        ("Squeeze", ["last", "one"], ["new_state.overlap"], {}),
    ]
    constants = {
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "minus": np.int64([-1]),
        "end": np.int64([1 << 40]),
        "last_axis": np.int64([-1]),
        "zero_scalar": np.int64(0),
        "one_scalar": np.int64(1),
        "two_scalar": np.int64(2),
        "size": np.int64(SIZE),
        "table": table.reshape(-1),
        "window": _window(),
        "halves": np.int64([HOP, HOP]),
        "wave_shape": np.int64([0, -1]),
    }
    inputs = [("codes", "int", ["B", "T", "k"]), ("state.overlap", "float", ["B", HOP])]
    outputs = [("wave", "float", ["B", "N"]), ("new_state.overlap", "float", ["B", HOP])]
    return _graph("decoder", nodes, inputs, outputs, constants)


def write_tiny_model(folder: Path, **changes: object) -> Path:
    """Write the tiny model into `folder`, with other entries of config.json where `changes` names them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format": 1,
        "name": "tiny",
        "sample_rate": RATE,
        "hop": HOP,
        "delay": HOP,
        "codebooks": K,
        "codebook_size": SIZE,
        "default_codebooks": 6,
        "codec": {"kind": "tiny"},
        "encoder_state": {"tail": {"shape": [HOP]}, "position": {"shape": [1], "dtype": "int64"}},
        "decoder_state": {"overlap": {"shape": [HOP]}},
        "fingerprint": FINGERPRINT,
        "revision": "none",
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "encoder.onnx").write_bytes(_encoder())
    (folder / "decoder.onnx").write_bytes(_decoder())
    (folder / "card.md").write_text("# tiny\n")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_codec(tiny_model: Path):
    """The tiny model, loaded."""
    from mixcodec.runtime import load

    return load(tiny_model)


@pytest.fixture(scope="session")
def grid_wave() -> Callable[..., np.ndarray]:
    """`grid_wave(shape, seed=0)`: noise on a grid of 1/256, with which the tiny model's arithmetic is exact."""
    return lambda shape, seed=0: np.random.default_rng(seed).integers(-255, 256, shape).astype(np.float32) / 256


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """`make_model(folder, **changes)`: the tiny model with other entries in its config.json."""
    return write_tiny_model
