"""A new run that begins with the weights of another codec: of another sample rate, or with another quantizer."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mixcodec.errors import ConfigError, ModelError
from mixcodec.models import find_model, shipped_models
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.heads import Fine
from mixcodec.nn.state import inside, outside
from mixcodec.nn.transforms import TRANSFORMS, Stft
from mixcodec.outside import check_used
from mixcodec.train.checkpoint import folder_tensors, load_checkpoint, load_meta

log = logging.getLogger(__name__)

EDGES = {"encoder.enter.weight": (1, 3), "decoder.leave.weight": (0, 2), "decoder.leave.bias": (0, 2)}
"""Of the layers beside the transform: the axis along which they hold bins, and how many runs of bins follow each other."""

BESIDE = ("quantizer.head.", "quantizer.costs.")
"""What a teacher looks at, and what codes cost: a codec without them lacks nothing, and one with them has its own."""


def read_initial(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a checkpoint or a model folder, named as in a checkpoint, and the codec that they are of. Raises ConfigError."""
    codec = initial_recipe(path)["codec"]
    return folder_tensors(path) if path.is_dir() else load_checkpoint(path)[0], codec


def initial_path(name: str) -> Path:
    """The checkpoint or model folder that `initial` names, by its path or as a shipped model. Raises ConfigError."""
    path = Path(os.path.expanduser(name))
    if name in shipped_models() or not path.exists():
        try:
            return find_model(name)
        except ModelError as error:
            raise ConfigError(f"initial is no checkpoint, model folder or shipped model: {error}") from None
    return path


def brings_discriminators(path: Path) -> bool:
    """Whether a checkpoint or a model folder holds discriminators that have been trained, or will be from the start."""
    if path.is_dir():
        return (path / "adversary.safetensors").is_file()
    meta = load_meta(path)
    begin = meta["recipe"]["adversary"]["begin"]
    return bool(begin == 0 or meta["step"] > begin)


def initial_recipe(path: Path) -> dict[str, Any]:
    """The recipe of a checkpoint or of a model folder as far as it is known, its codec among it, without the weights."""
    if not path.is_dir():
        meta = load_meta(path)
        check_used(meta.get("parts", {}), path)
        return dict(meta["recipe"])
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        check_used(config.get("parts", {}), path)
        return config.get("recipe", {}) | {"codec": config["codec"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as a model folder ({type(error).__name__}: {error})") from None


def adopted(net: CodecNet, weights: Mapping[str, torch.Tensor], codec: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], bool]:
    """What `net` is loaded with, of the `weights` of the codec that `codec` describes; whether its codebooks are among them.

    - Another sample rate, where both transforms are STFTs with frames of equal duration: a bin stands for the same frequency, so
      the layers beside the transforms take over the bins that both have, scaled by what the other window's length does to a
      partial; below both Nyquist frequencies the codec does what it did, and what is above is as `net` was made.
    - A `residual` for a `semantic_split` that is not parallel: its first codebook becomes the one that is taught.
    - Any other quantizer: it is left as `net` was made, to be fitted to the latents.
    - A head where there was none: it is as `net` was made; where it has a spectrum a frame too, that begins as the spectrum that
      the decoder gave, less and less of it towards `frame_below`. A head where there was another: all of the decoder before it.

    All else must fit, which the one who loads sees to. Raises ConfigError for transforms between which there is no such way.
    """
    here, found = net.state_dict(), dict(weights)
    if codec["sample_rate"] != net.sample_rate:
        found |= _widened(net, weights, codec)
    if codec.get("head") != net.config.get("head"):
        found = _headed(net, found, codec)
    found = _taught(found, codec["quantizer"], net.config["quantizer"])
    quantizer = {name: tensor for name, tensor in here.items() if name.startswith("quantizer.")}
    needed = {name: tensor for name, tensor in quantizer.items() if not name.startswith(BESIDE)}
    fitted = all(name in found and found[name].shape == tensor.shape for name, tensor in needed.items())
    found = {name: tensor for name, tensor in found.items() if name in here or not name.startswith(BESIDE)}
    found = (quantizer | found) if fitted else (outside("quantizer", found) | quantizer)
    return found, fitted


def _widened(net: CodecNet, weights: Mapping[str, torch.Tensor], codec: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The layers beside the transforms, made to fit `net` bin by bin."""
    now, was, rate = net.transform, TRANSFORMS.build(codec["transform"]), codec["sample_rate"]
    stfts = isinstance(now, Stft) and isinstance(was, Stft) and now.power == was.power
    if not isinstance(now, Stft) or not stfts or now.hop * rate != was.hop * net.sample_rate:
        told = f"{codec['transform']} at {rate} Hz and {net.config['transform']} at {net.sample_rate} Hz"
        raise ConfigError(
            f"weights go over to another sample rate between stfts of equal power and duration of a frame, not {told}"
        )
    gain = (now.hop / was.hop) ** (now.power / 2)  # of a compressed coefficient of the same partial
    bins = min(now.hop, was.hop)  # the highest bin of either is real and stands for itself alone
    here, layers = net.state_dict(), {}
    for name, (axis, runs) in EDGES.items():
        fresh = here[name].clone().unflatten(axis, (runs, now.hop + 1))
        known = weights[name].unflatten(axis, (runs, was.hop + 1)).narrow(axis + 1, 0, bins)
        fresh.narrow(axis + 1, 0, bins).copy_(known / gain if name.startswith("encoder") else known * gain)
        layers[name] = fresh.flatten(axis, axis + 1)
    return layers


def _headed(net: CodecNet, weights: Mapping[str, torch.Tensor], codec: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The weights with the last layer of the decoder, and the head, made to fit `net`, which has another head."""
    here = net.state_dict()
    found = {name: tensor for name, tensor in weights.items() if not name.startswith(("head.", "decoder.leave."))}
    found |= {name: tensor for name, tensor in here.items() if name.startswith("head.")}
    for name in ("decoder.leave.weight", "decoder.leave.bias"):
        layer = here[name].clone()
        if isinstance(net.head, Fine) and net.head.low and not codec.get("head"):
            bins = net.hop + 1
            ramp = (2 * (1 - torch.arange(net.head.low) / (net.head.low - 1))).clamp(max=1)
            for run in range(2):
                known = weights[name][run * bins :][: net.head.low]
                layer[run * net.head.low :][: net.head.low] = known * (ramp[:, None] if known.ndim > 1 else ramp)
        found[name] = layer
    return found


def _taught(
    weights: dict[str, torch.Tensor], was: Mapping[str, Any] | str, will_be: Mapping[str, Any] | str
) -> dict[str, torch.Tensor]:
    """The codebooks of a `residual` under the names that a `semantic_split` has for them, if that is what will be."""
    was, will_be = ({"kind": part} if isinstance(part, str) else part for part in (was, will_be))
    if was["kind"] != "residual" or will_be["kind"] != "semantic_split" or will_be.get("parallel", True):
        return weights
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith("quantizer.levels."):
            level, rest = name.removeprefix("quantizer.levels.").split(".", 1)
            name = f"quantizer.semantic.{rest}" if level == "0" else f"quantizer.levels.{int(level) - 1}.{rest}"
        renamed[name] = tensor
    return renamed


def adopt(net: CodecNet, ema: CodecNet, adversary: torch.nn.Module, path: Path) -> bool:
    """Loads all three from a checkpoint or a model folder; gives whether the codebooks came along.

    The discriminators are loaded where the file has such ones and the sample rate is the same; others begin anew. Raises
    ConfigError for weights of a codec from which there is no way to this one.
    """
    tensors, codec = read_initial(path)
    try:
        for prefix, part in (("net", net), ("ema", ema)):
            found, fitted = adopted(part, inside(prefix, tensors), codec)
            part.load_state_dict(found)
        rivals = inside("adversary", tensors)
        if rivals and codec["sample_rate"] == net.sample_rate:
            if _shapes(rivals) == _shapes(adversary.state_dict()):
                adversary.load_state_dict(rivals)
            else:
                log.warning("%s: its discriminators are others than the recipe's, which begin anew", path)
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: its weights are those of another codec than the recipe's ({reason})") from None
    return fitted


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
