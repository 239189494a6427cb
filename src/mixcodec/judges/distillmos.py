"""DistillMOS: what listeners would say of speech, judged by a network that hears the decoded clip alone."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from mixcodec.audio import Wave
from mixcodec.extras import MissingPartError
from mixcodec.judges.base import UnscorableError, finite, one_thread

RATE = 16000
INSTALL = "pip install --no-deps distillmos xls-r-sqa"
"""Without what they declare: torchaudio and, through it, CUDA, which nothing here uses."""


def check(wanted_by: str) -> None:
    """Raise MissingPartError, in one line, where a package that the part `wanted_by` needs is missing."""
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise MissingPartError(f"{wanted_by} needs torch ({error}); pip install 'mixcodec[eval-mos]'") from None
    try:
        _package()
    except ImportError as error:
        raise MissingPartError(f"{wanted_by} needs distillmos ({error}); {INSTALL}") from None


def distillmos(wave: Wave) -> float:
    """The mean opinion score, 1 to 5, of `wave` (N,) at 16 kHz.

    Stahl, Gamper, 2025, Distillation and pruning for scalable self-supervised representation-based speech quality assessment.
    Its level does not matter. Pieces of 7.68 s are scored at most a second apart, and their scores averaged, as the authors do.

    Raises:
        UnscorableError: the wave is silent.
    """
    import torch

    if not np.any(wave):
        raise UnscorableError("the decoded clip is silent")
    with torch.inference_mode(), one_thread():
        score = _model()(torch.from_numpy(np.asarray(wave, np.float32)[None]))
    return finite(score.item(), "DistillMOS")


@functools.cache
def _model() -> Any:
    import torch

    # It tells where its weights are, and draws those that they replace.
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
        return _package().ConvTransformerSQAModel().eval()


def _package() -> ModuleType:
    """The package distillmos. It imports torchaudio for its command alone, so an empty stand-in serves where there is none."""
    with _stand_in("torchaudio"):
        return importlib.import_module("distillmos")


@contextlib.contextmanager
def _stand_in(name: str) -> Iterator[None]:
    """An empty module `name`, where none is installed, that nobody finds afterwards."""
    if name in sys.modules or importlib.util.find_spec(name):
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
