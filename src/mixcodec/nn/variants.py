"""Other forms of a model folder's graphs: int8 and bf16. They share its weights, so its fingerprint, its tables and its state.

int8. The products of the networks' blocks, where nearly all of the arithmetic is, are done on 8-bit integers:

    x --QuantizeLinear--> uint8 --MatMulIntegerToFloat--> float32, with the bias and the block's scale

Weights have a scale for each output; activations have one for the tensor, found beforehand on recordings. A range found at
run time (DynamicQuantizeMatMul) would be as fast, but is that of the whole block, and so a frame's codes would depend on the
frames beside it: a stream would not give what the whole file gives. uint8 by int8 is the one pairing for which onnxruntime has
VNNI kernels: int8 by int8 takes ten times as long, MatMulNBits no less than float32. The encoder's first layer sees loud frames
and quiet ones: its input is divided by the frame's own greatest number. The transform, the codebooks and the other first and
last layers stay as they are: they are few of the products, and of all layers the ones that rounding hurts.

bf16. Weights are stored as bfloat16 instead of float16, arithmetic is float32: onnxruntime's CPU provider has no products of
bfloat16 on x86. It saves nothing over the plain graphs, and is for those who want to know what bfloat16 would cost.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from mixcodec.audio import Wave
from mixcodec.errors import ConfigError, ModelError
from mixcodec.models import DIRECTIONS, PLAIN, graph_name
from mixcodec.runtime.codec import Codec
from mixcodec.runtime.config import read_config

Array = NDArray[np.float64]

ROWS = 2048  # of each product's input that the ranges are found on
CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)  # shares of the range that are tried
EVENNESS = 0.7  # 1 evens a product's inputs out over the channels wholly, 0 its weights
BLOCK = re.compile(r"(encoder|decoder)\.blocks\.\d+\..*weight")
FIRST = "encoder.enter.weight"
MICROSOFT = "com.microsoft"


def variant_graphs(folder: Path, variant: str, waves: Sequence[Wave] = ()) -> dict[str, bytes]:
    """The files of a variant of a model folder, by name; `waves` (N,) at the codec's rate are what int8 finds its ranges on.

    Raises ModelError for a folder that has no plain graphs, and ConfigError where int8 is given no waves.
    """
    config = read_config(folder)
    models = {}
    for direction in DIRECTIONS:
        path = folder / graph_name(direction, PLAIN)
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give a model folder that has the plain graphs")
        models[direction] = onnx.load(path)
    if variant == "bf16":
        for model in models.values():
            _store_as_bfloat16(model)
    elif variant == "int8":
        if not sum(map(len, waves)):
            raise ConfigError(f"{folder}: int8 finds the ranges of its numbers on recordings; give some")
        weights = load_file(folder / "model.safetensors")
        blocks = [tensor for name, tensor in weights.items() if BLOCK.fullmatch(name) and tensor.ndim == 2]
        codec = Codec(config)
        inputs = {"encoder": list(_encoder_inputs(waves, codec.hop)), "decoder": list(_decoder_inputs(waves, codec))}
        for direction, model in models.items():
            state = config.encoder_state if direction == "encoder" else config.decoder_state
            empty = {f"state.{name}": np.zeros((1, *spec.shape), spec.dtype) for name, spec in state.items()}
            _Int8(model, blocks, weights[FIRST]).rewrite([{**empty, **feed} for feed in inputs[direction]])
    else:
        raise ConfigError(f"there is no way to make a variant {variant!r}")
    for model in models.values():
        onnx.checker.check_model(model)
    return {graph_name(direction, variant): model.SerializeToString() for direction, model in models.items()}


def _encoder_inputs(waves: Sequence[Wave], hop: int) -> Any:
    return ({"wave": np.pad(wave, (0, -len(wave) % hop))[None].astype(np.float32)} for wave in waves)


def _decoder_inputs(waves: Sequence[Wave], codec: Codec) -> Any:
    """Codes of the plain encoder, of the first few codebooks or all."""
    generator = np.random.default_rng(0)
    for wave in waves:
        codes = codec.wave_to_tokens(wave, codec.sample_rate, codebooks=codec.codebooks).codes
        yield {"codes": codes[None, :, : generator.integers(1, codec.codebooks + 1)]}


def _store_as_bfloat16(model: onnx.ModelProto) -> None:
    """Turns the weights that are kept as float16 into bfloat16, rounded to the nearest, the even one of two."""
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            bits = numpy_helper.to_array(weight).astype(np.float32).view(np.uint32)
            rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
            weight.CopyFrom(helper.make_tensor(weight.name, TensorProto.BFLOAT16, weight.dims, rounded.tobytes(), raw=True))


@dataclass
class _Product:
    """x @ weight, then + bias and * scale, of which the graph may lack either."""

    node: onnx.NodeProto
    weight: Array  # (C, N)
    bias: Array  # (N,)
    scale: Array  # (N,)
    after: list[onnx.NodeProto]  # those of bias and scale
    by_frame: bool  # x is divided by the greatest number of its frame
    norm: onnx.NodeProto | None  # the layer norm that gives x to this product alone

    @property
    def output(self) -> str:
        return str((self.after or [self.node])[-1].output[0])


class _Int8:
    """The rewriting of one graph."""

    def __init__(self, model: onnx.ModelProto, blocks: Sequence[NDArray[Any]], first: NDArray[Any]) -> None:
        self._graph = model.graph
        self._model = model
        self._constants = {tensor.name: tensor for tensor in self._graph.initializer}
        self._uses: dict[str, list[onnx.NodeProto]] = {}
        for node in self._graph.node:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)
        self._made_by = {name: node for node in self._graph.node for name in node.output}
        self._outputs = {output.name for output in self._graph.output}
        self._known = {array.T.astype(np.float32).tobytes(): array is first for array in (*blocks, first)}
        products = [self._product(node) for node in self._graph.node if node.op_type == "MatMul"]
        self._products = [found for found in products if found]

    def rewrite(self, feeds: Sequence[dict[str, NDArray[Any]]]) -> None:
        """Put integer products in the place of the float ones; `feeds` are inputs to find the ranges on."""
        if not self._products:
            return
        seen = self._inputs_of_products(feeds)
        replaced: dict[int, list[onnx.NodeProto]] = {}
        for number, product in enumerate(self._products):
            x = seen[product.node.input[0]].astype(np.float64)
            if product.by_frame and (x.max(1) < np.maximum(-x.min(1), 1e-12)).any():
                continue  # its inputs have no magnitudes among them, which are never less than the numbers that they are of
            nodes = self._integer_product(f"int8.{number}", product, x)
            replaced |= {id(node): [] for node in product.after} | {id(product.node): nodes}
        for node in self._graph.node:
            if node.op_type == "TopK" and (search := self._search(node)):
                replaced[id(node)] = search
        nodes = [new for node in self._graph.node for new in replaced.get(id(node), [node])]
        used = {name for node in nodes for name in node.input} | self._outputs
        nodes = [node for node in nodes if node.op_type != "Cast" or set(node.output) & used]  # those of weights now unused
        used = {name for node in nodes for name in node.input}
        constants = [tensor for tensor in self._constants.values() if tensor.name in used]
        nodes, constants = ([type(part).FromString(part.SerializeToString()) for part in parts] for parts in (nodes, constants))
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(constants)
        self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))

    def _product(self, node: onnx.NodeProto) -> _Product | None:
        """The product of a MatMul by one of the weights that become integers; None for any other."""
        weight = self._constant(node.input[1])
        by_frame = None if weight is None else self._known.get(weight.astype(np.float32).tobytes())
        if weight is None or by_frame is None:
            return None
        bias, scale, after = np.zeros(weight.shape[1]), np.ones(weight.shape[1]), []
        last = node
        for wanted in () if by_frame else ("Add", "Mul"):
            follower = self._only_use(last.output[0])
            if follower is None or follower.op_type != wanted:
                continue
            vector = self._constant(next((name for name in follower.input if name != last.output[0]), ""))
            if vector is not None and vector.shape == scale.shape:
                bias, scale = (vector, scale) if wanted == "Add" else (bias, vector)
                after.append(follower)
                last = follower
        norm = self._made_by.get(node.input[0])
        if norm is not None and (norm.op_type != "LayerNormalization" or len(norm.input) < 3):
            norm = None
        if norm is not None and not all(self._only_use(name) for name in (node.input[0], *norm.input[1:])):
            norm = None
        return _Product(node, weight, bias, scale, after, by_frame, norm)

    def _only_use(self, name: str) -> onnx.NodeProto | None:
        uses = self._uses.get(name, [])
        return uses[0] if len(uses) == 1 and name not in self._outputs else None

    def _constant(self, name: str) -> Array | None:
        maker = self._made_by.get(name)
        if maker is not None and maker.op_type == "Cast":
            name = maker.input[0]
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor).astype(np.float64)

    def _inputs_of_products(self, feeds: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[np.float32]]:
        """Rows (at most about ROWS, C) of what each product is given, evenly from all the feeds."""
        import onnxruntime

        names = [str(product.node.input[0]) for product in self._products]
        told = onnx.ModelProto.FromString(self._model.SerializeToString())
        told.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in self._outputs)
        session = onnxruntime.InferenceSession(told.SerializeToString(), providers=["CPUExecutionProvider"])
        generator = np.random.default_rng(0)
        rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
        for feed in feeds:
            for name, value in zip(names, session.run(names, feed), strict=True):
                flat = value.reshape(-1, value.shape[-1])
                rows[name].append(flat[generator.permutation(len(flat))[: -(-ROWS // len(feeds))]])
        return {name: np.concatenate(found) for name, found in rows.items()}

    def _integer_product(self, name: str, product: _Product, x: Array) -> list[onnx.NodeProto]:
        """The nodes for a product whose inputs are like x (M, C); their constants are added to the graph."""
        weight, bias = product.weight, product.bias
        if product.norm is not None:
            centre, spread = _evened(x, weight)
            gain, shift = (self._constant(constant) for constant in product.norm.input[1:])
            assert gain is not None
            assert shift is not None
            for constant, value in zip(product.norm.input[1:], (gain / spread, (shift - centre) / spread), strict=True):
                self._add(constant, value.astype(np.float32))
            x, weight, bias = (x - centre) / spread, weight * spread[:, None], bias + centre @ weight
        step, zero = (2 / 255, 128) if product.by_frame else _range(x, np.square(weight).sum(1))
        integers, steps = _rounded(weight)
        added: dict[str, Any] = {
            "step": np.float32(step),
            "zero": np.uint8(zero),
            "weight": integers,
            "steps": (steps * product.scale).astype(np.float32),
            "bias": (bias * product.scale).astype(np.float32),
        }
        for suffix, number in added.items():
            self._add(f"{name}.{suffix}", np.asarray(number))
        source, quantized, output = product.node.input[0], f"{name}.x", product.output
        inputs = [quantized, *(f"{name}.{suffix}" for suffix in ("weight", "step", "steps", "zero")), "", f"{name}.bias"]
        if not product.by_frame:
            return [
                helper.make_node("QuantizeLinear", [source, f"{name}.step", f"{name}.zero"], [quantized]),
                helper.make_node("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT),
            ]
        self._add(f"{name}.axis", np.asarray([-1], np.int64))
        return [
            helper.make_node("ReduceMax", [source, f"{name}.axis"], [f"{name}.top"], keepdims=1),
            helper.make_node("Div", [source, f"{name}.top"], [f"{name}.even"]),
            helper.make_node("QuantizeLinear", [f"{name}.even", f"{name}.step", f"{name}.zero"], [quantized]),
            helper.make_node("MatMulIntegerToFloat", inputs[:5], [f"{name}.y"], domain=MICROSOFT),
            helper.make_node("Mul", [f"{name}.y", f"{name}.top"], [output]),
        ]

    def _search(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that find the place of the greatest of scores (B, T, size) in two steps; none where there is no other way.

        The greatest score of each group is found with vector instructions, so only one group has to be searched for the place.
        Of whole files it saves a twentieth of the time; it costs half as much where frames come one by one.
        """
        scores, place = node.input[0], node.output[1]
        shapes = {value.name: value.type.tensor_type.shape.dim for value in self._graph.value_info}
        count = self._constants.get(node.input[1])
        size = shapes[scores][2].dim_value if len(shapes.get(scores, ())) == 3 else 0
        group = next((size // n for n in range(math.isqrt(size), 7, -1) if size % n == 0), 0)
        if not group or self._uses.get(node.output[0]) or count is None or numpy_helper.to_array(count).tolist() != [1]:
            return []
        for name, value in {"groups": [0, 0, -1, group], "last": [-1], "group": [group]}.items():
            self._add(f"{place}.{name}", np.asarray(value, np.int64))
        names = ("grouped", "tops", "which", "found", "inside", "begin")
        grouped, tops, which, found, inside, begin = (f"{place}.{name}" for name in names)
        return [
            helper.make_node("Reshape", [scores, f"{place}.groups"], [grouped]),
            helper.make_node("ReduceMax", [grouped, f"{place}.last"], [tops], keepdims=0),
            helper.make_node("ArgMax", [tops], [which], axis=-1, keepdims=1),
            helper.make_node("GatherND", [grouped, which], [found], batch_dims=2),
            helper.make_node("ArgMax", [found], [inside], axis=-1, keepdims=1),
            helper.make_node("Mul", [which, f"{place}.group"], [begin]),
            helper.make_node("Add", [begin, inside], [place]),
        ]

    def _add(self, name: str, value: NDArray[Any]) -> None:
        self._constants[name] = numpy_helper.from_array(value, name)


def _evened(x: Array, weight: Array) -> tuple[Array, Array]:
    """A centre (C,) and a spread (C,) for each channel of x (M, C), so that (x - centre) / spread has no channel that needs a
    range of its own, and the weight times spread none either.

    Xiao et al., 2023, SmoothQuant; Wei et al., 2023, Outlier Suppression+. The layer norm before the product takes them over.
    """
    low, high = np.quantile(x, 0.0005, 0), np.quantile(x, 0.9995, 0)
    centre = (low + high) / 2
    reach, weights = np.maximum(np.abs(x - centre).max(0), 1e-3), np.maximum(np.abs(weight).max(1), 1e-4)
    spread = reach**EVENNESS / weights ** (1 - EVENNESS)
    return centre, spread / np.exp(np.log(spread).mean())


def _range(x: Array, importance: Array) -> tuple[float, int]:
    """The step and the zero of uint8 with which the square error of x (M, C), weighed by channel, is least."""
    low, high = min(x.min(), 0.0), max(x.max(), 1e-6)
    best, found = np.inf, (1.0, 0)
    for clip in CLIPS:
        for bottom in {low, clip * low}:
            step = (clip * high - bottom) / 255
            zero = round(-bottom / step)
            error = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step - x
            cost = float((np.square(error) @ importance).sum())
            if cost < best:
                best, found = cost, (step, min(zero, 255))
    return found


def _rounded(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """The weight (C, N) as integers and the step (N,) of each output.

    Integers of two inputs side by side add up to no more than 128: a processor without VNNI adds two products in 16 bits, and
    would cut what does not fit. So the sums are the same on every machine.
    """
    first, second = (np.pad(weight, ((0, weight.shape[0] % 2), (0, 0)))[i::2] for i in (0, 1))
    pairs = np.where(first * second > 0, np.abs(first + second), 0).max(0)
    steps = np.maximum(np.maximum(np.abs(weight).max(0) / 127, pairs / 127), 1e-12)  # rounding may add one to a pair
    return np.clip(np.rint(weight / steps), -127, 127).astype(np.int8), steps
