"""Checkpoints: one safetensors file with everything that a run needs to go on as if it had not stopped."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from mixcodec.errors import ConfigError, FileError

FORMAT = "mixcodec-checkpoint-1"


def save_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors and plain values to `path`, whole or not at all. Raises FileError."""
    part = path.with_suffix(".part")
    whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(whole, part, metadata={"format": FORMAT, "meta": json.dumps(meta)})
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise FileError(f"{path}: the checkpoint cannot be written ({error})") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and plain values of a checkpoint. Raises ConfigError for a file that is not one."""
    return _read(path, device)


def _read(path: Path, device: str, tensors: bool = True) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt", device=device) as file:
            head = file.metadata() or {}
            if head.get("format") != FORMAT:
                raise ConfigError(f"{path}: not a checkpoint of mixcodec (format {head.get('format')!r})")
            names = file.keys() if tensors else []
            return {name: file.get_tensor(name) for name in names}, json.loads(head["meta"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a checkpoint ({error})") from None


def load_meta(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint alone, without its tensors. Raises ConfigError for a file that is not one."""
    return _read(path, "cpu", tensors=False)[1]


def folder_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a model folder as a checkpoint has them. Raises ConfigError for a folder that is none."""
    parts: dict[str, torch.Tensor] = {}
    if not (folder / "model.safetensors").is_file():
        raise ConfigError(f"{folder}: has no weights to train (no model.safetensors); give a folder that mixcodec export wrote")
    try:
        for prefix, name in (("net", "model"), ("ema", "model"), ("adversary", "adversary")):
            file = folder / f"{name}.safetensors"
            if file.is_file() or name == "model":
                parts |= {f"{prefix}.{k}": t.float() if t.is_floating_point() else t for k, t in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{folder}: cannot be read as a model folder ({error})") from None
    return parts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's averages by the parameter's number: `number.name`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts `optimizer_tensors` back; learning rates and the like stay as the optimizer has them."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
