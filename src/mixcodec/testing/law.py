"""What laws are written with, and how many of them are tried on one part."""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mixcodec.errors import ConfigError


class LawError(AssertionError):
    """A part that breaks one or several laws; the message names each, and what was found."""


def hold(what: object, otherwise: str) -> None:
    """Raises LawError with `otherwise`, where `what` is false. (An `assert` would be left out by python -O.)"""
    if not bool(what):
        raise LawError(otherwise)


def near(found: torch.Tensor, wanted: torch.Tensor, atol: float, rtol: float = 0.0, what: str = "it") -> None:
    """Raises LawError where two tensors differ by more than `atol` and `rtol` of what is wanted."""
    hold(found.shape == wanted.shape, f"{what} is of shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
    found, wanted = found.detach(), wanted.detach()
    away = (found - wanted).abs() - rtol * wanted.abs()
    worst = float(away.max()) if away.numel() else 0.0
    hold(worst <= atol, f"{what} is {worst:.3g} away, where {atol:g} is allowed")


def refused(run: Callable[[], object], pattern: str, what: str) -> None:
    """Raises LawError unless `run` raises a ConfigError of one line that `pattern` is found in."""
    try:
        run()
    except ConfigError as error:
        told = str(error)
        hold("\n" not in told and re.search(pattern, told), f"{what}: the error says {told!r}, not {pattern!r}")
        return
    except Exception as error:
        raise LawError(f"{what}: raises {type(error).__name__} ({error}), not a ConfigError") from error
    raise LawError(f"{what}: is not refused with a ConfigError")


def hold_all(part: str, laws: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Tries every law, of which each has a name, and raises one LawError that lists those that were broken."""
    broken = []
    for name, law in laws:
        try:
            law()
        except Exception as error:  # whatever a part does instead of obeying
            kind = "" if isinstance(error, LawError) else f"{type(error).__name__}: "
            broken.append(f"- {name}: {kind}{' '.join(str(error).split())[:400]}")
    if broken:
        raise LawError("\n".join([f"{part} breaks {len(broken)} laws:", *broken]))


def export_graph(module: torch.nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> Any:
    """A session of onnxruntime with the graph of a module, exported as codecs are."""
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, str(path), opset_version=20, dynamo=True, external_data=False, verbose=False, **options)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def label(config: Mapping[str, Any] | str) -> str:
    """What a message calls a part."""
    return config if isinstance(config, str) else " ".join(f"{name}={value}" for name, value in config.items())
