"""A trained codec -> a model folder that the runtime loads without torch."""

import copy
import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from mixcodec.entropy import ENTROPY, Tables
from mixcodec.errors import ConfigError, FileError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.state import State
from mixcodec.temporary import temporary_folder

FORMAT = 1
OPSET = 20
SMALL = 4096  # elements under which a constant stays float32: halving it saves nothing
MOST_HALF = 65504  # the greatest float16: a constant with more, a mask say, stays float32


class _Graph(torch.nn.Module):
    """One direction of a codec with its state as positional tensors, as an exported graph has it."""

    def __init__(self, net: CodecNet, direction: str, names: list[str]) -> None:
        super().__init__()
        self.net, self.direction, self.names = net, direction, names

    def forward(self, first: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        run = self.net.encode if self.direction == "encoder" else self.net.decode
        y, after = run(first, dict(zip(self.names, state, strict=True)))
        return (y, *(after[name] for name in self.names))


def export_folder(
    net: CodecNet,
    folder: Path,
    name: str,
    card: str,
    about: Mapping[str, Any] | None = None,
    adversary: torch.nn.Module | None = None,
    tables: Tables | None = None,
) -> None:
    """Writes `folder`: encoder.onnx, decoder.onnx, model.safetensors, config.json, card.md; whole or not at all.

    Weights are rounded to float16 first, and both graphs and the safetensors hold these very numbers; arithmetic is float32.
    `about` (plain values) goes into config.json; the weights of `adversary`, if given, into adversary.safetensors, so that
    training can go on from the folder; `tables`, if given, into entropy.bin, so that files become smaller. Raises FileError if
    `folder` can't be written, and ConfigError for a quantizer whose codes stand for several frames: a graph that takes blocks
    of any number of frames would not know where a group begins.
    """
    if net.quantizer.stride > 1:
        told = f"its quantizer's codes span up to {max(net.quantizer.strides)} frames, and a stream may break off within them"
        raise ConfigError(f"{folder}: the codec is not exported: {told}; choose a quantizer with one code a frame")
    net, folder = half_precision(net), folder.resolve()
    if folder.exists() and not (folder / "config.json").is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder}: is there and is no model folder, so it is not replaced; choose another name")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as part:
            part.chmod(0o755)
            _write_parts(part, net, name, card, about, adversary, tables)
            for file in part.iterdir():
                file.chmod(0o644)
            replace_folder(part, folder)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None


def _write_parts(
    part: Path,
    net: CodecNet,
    name: str,
    card: str,
    about: Mapping[str, Any] | None,
    adversary: torch.nn.Module | None,
    tables: Tables | None,
) -> None:
    """Writes the files of a model folder into `part`."""
    states = {"encoder": net.encoder_state(1), "decoder": net.decoder_state(1)}
    for direction, state in states.items():
        _export_graph(net, direction, state, part / f"{direction}.onnx")
    save_file({k: _stored(v) for k, v in net.state_dict().items()}, part / "model.safetensors", {"format": "pt"})
    if adversary:
        save_file({k: _stored(v) for k, v in adversary.state_dict().items()}, part / "adversary.safetensors")
    if tables:
        (part / ENTROPY).write_bytes(tables.to_bytes())
    config = {
        "format": FORMAT,
        "name": name,
        "sample_rate": net.sample_rate,
        "hop": net.hop,
        "delay": net.delay,
        "codebooks": net.codebooks,
        "codebook_size": net.codebook_size,
        "default_codebooks": default_codebooks(net),
        "fingerprint": fingerprint(net),
        **({"tables": f"{tables.fingerprint:08x}"} if tables else {}),
        "codec": net.config,
        **{f"{d}_state": {k: _described(v) for k, v in state.items()} for d, state in states.items()},
        **(about or {}),
    }
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (part / "card.md").write_text(card)


def _described(tensor: torch.Tensor) -> dict[str, Any]:
    """A state tensor's entry in config.json: its shape without the batch axis, and its type where that is not float32."""
    dtype = str(tensor.numpy().dtype)
    return {"shape": list(tensor.shape[1:])} | ({} if dtype == "float32" else {"dtype": dtype})


def replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`; the old one is deleted only when the new one is there."""
    old = new.with_name(f"{new.name}-old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def half_precision(net: CodecNet) -> CodecNet:
    """A float32 copy whose large tensors hold numbers that float16 can hold, in evaluation mode."""
    net = copy.deepcopy(net).eval().cpu().float()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(_stored(tensor))
    return net


def default_codebooks(net: CodecNet) -> int:
    """How many codebooks are used where no bitrate is asked for: three quarters."""
    return max(1, round(0.75 * net.codebooks))


def fingerprint(net: CodecNet) -> str:
    """128 bits, in hex, of the weights as they are stored: what tokens are bound to."""
    digest = hashlib.sha256(json.dumps(net.config, sort_keys=True).encode())
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + _stored(tensor).numpy().tobytes())
    return digest.hexdigest()[:32]


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """As model.safetensors keeps it: float16 for all that is large."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() and tensor.numel() >= SMALL else tensor


def _export_graph(net: CodecNet, direction: str, state: State, path: Path) -> None:
    names = list(state)
    frames, batch = 6, 2
    wide = net.encoder_state(batch) if direction == "encoder" else net.decoder_state(batch)
    first = torch.randn(batch, frames * net.hop) if direction == "encoder" else torch.zeros(batch, frames, net.codebooks).long()
    graph = _Graph(net, direction, names)
    input_name, output_name = ("wave", "codes") if direction == "encoder" else ("codes", "wave")
    many, length = torch.export.Dim("batch"), torch.export.Dim("frames")
    axes = {0: many, 1: net.hop * length if direction == "encoder" else length}
    if direction == "decoder" and net.codebooks > 1:
        axes[2] = torch.export.Dim("codebooks", max=net.codebooks)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision, which nothing here uses, is absent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (first, *wide.values()),
            str(path),
            input_names=[input_name, *(f"state.{n}" for n in names)],
            output_names=[output_name, *(f"new_state.{n}" for n in names)],
            dynamic_shapes=(axes, tuple({0: many} for _ in names)),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    _forget_origin(model)
    helper.set_model_props(model, {"fingerprint": fingerprint(net)})  # so that it is not taken for another model's
    _halve_weights(model, exact={tuple(t.shape) for part in (net.transform, net.head) if part for t in part.buffers()})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Takes out where each node came from: stack traces with the paths of the machine that exported."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]


def _halve_weights(model: onnx.ModelProto, exact: set[tuple[int, ...]]) -> None:
    """Stores large float32 weights as float16 followed by a cast, but not the transform's matrices (by shape `exact`)."""
    casts = []
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype != "float32" or array.size < SMALL or array.shape in exact or abs(array).max() > MOST_HALF:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(array.astype("float16"), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
