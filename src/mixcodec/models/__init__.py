"""The model folders that come with the package, found by name."""

from __future__ import annotations

import os
from pathlib import Path

from mixcodec.errors import ModelError

DEFAULT_MODEL = "speech-16k"
CONFIG = "config.json"


def shipped_models() -> list[str]:
    """The names of the models inside the package, sorted."""
    home = Path(__file__).parent
    return sorted(folder.name for folder in home.iterdir() if (folder / CONFIG).is_file())


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a shipped model's name, or of a path to a model folder.

    A shipped name wins over a folder of the same name in the working directory (write ``./name`` for that one).

    Raises:
        ModelError: there is no such model; the message names the nearest one.
    """
    name = os.fspath(name_or_path)
    known = shipped_models()
    if name in known:
        return Path(__file__).parent / name
    folder = Path(name)
    if (folder / CONFIG).is_file():
        return folder
    if folder.is_dir() and name:
        raise ModelError(f"{name}: is not a model folder (it has no {CONFIG}); give one that mixcodec export made")
    raise ModelError(f"unknown model {name!r}; {_advice(name, known)}")


def _advice(name: str, known: list[str]) -> str:
    import difflib

    if not known:
        return "no model is shipped with this installation, so give the path of a model folder"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"did you mean {nearest!r}? (mixcodec models lists them; a path to a model folder works too)"
