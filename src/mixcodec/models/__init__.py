"""The model folders that come with the package, found by name; the variants of a model's graphs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mixcodec.errors import ModelError

DEFAULT_MODEL = "speech-16k"
CONFIG = "config.json"
DIRECTIONS = ("encoder", "decoder")
PLAIN = "float32"
VARIANTS = {
    "int8": "products of the network's blocks in 8-bit integers: how much faster depends on the CPU, mixcodec info MODEL --time",
    "bf16": "weights stored as bfloat16, computed with in float32: onnxruntime's CPU kernels have no bfloat16 products",
}
"""Other forms of a model's two graphs, beside PLAIN. They share its fingerprint, its tables and its state: what one encodes
any other decodes."""


HOME = Path(__file__).parent


def shipped_models() -> list[str]:
    """The names of the models inside the package, sorted. A folder that has but a variant of one is not listed."""
    return sorted(folder.name for folder in HOME.iterdir() if (folder / CONFIG).is_file() and PLAIN in variants_in(folder))


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a shipped model's name, or of a path to a model folder.

    A shipped name wins over a folder of the same name in the working directory (write ``./name`` for that one).

    Raises:
        ModelError: there is no such model; the message names the nearest one.
    """
    name = os.fsdecode(name_or_path)
    known = shipped_models()
    if name in known:
        return HOME / name
    folder = Path(name)
    with suppress(OSError, ValueError):  # a name that no file can have, or a folder that may not be looked into
        if (folder / CONFIG).is_file():
            return folder
        if folder.is_dir() and name:
            raise ModelError(f"{name}: is not a model folder (it has no {CONFIG}); give one that mixcodec export made")
    raise ModelError(f"unknown model {name!r}; {_advice(name, known)}")


def graph_name(direction: str, variant: str) -> str:
    """The file of a variant's encoder or decoder in a model folder."""
    return f"{direction}.onnx" if variant == PLAIN else f"{direction}.{variant}.onnx"


def variants_in(folder: Path) -> list[str]:
    """The variants whose two graphs a model folder has, PLAIN first."""
    every = (PLAIN, *VARIANTS)
    return [variant for variant in every if all((folder / graph_name(way, variant)).is_file() for way in DIRECTIONS)]


def variant_folders(folder: Path) -> dict[str, Path]:
    """The variants of a model and where their graphs are: in its folder, or in one beside it called like it and -VARIANT."""
    whole, within = folder.resolve(), variants_in(folder)
    found = {}
    for variant in (PLAIN, *VARIANTS):
        beside = whole.with_name(f"{whole.name}-{variant}")
        if variant in within or (variant != PLAIN and variant in variants_in(beside)):
            found[variant] = folder if variant in within else beside
    return found


def find_variant(folder: Path, variant: str | None) -> tuple[Path, str]:
    """The folder with the graphs of a model folder's variant, see `variant_folders`, and the variant.

    None asks for PLAIN, or for what there is in a folder that has no plain graphs.

    Raises:
        ModelError: there is no such variant; the message says what there is and how to make it.
    """
    if variant is None:
        return folder, next(iter(variants_in(folder)), PLAIN)
    found = variant_folders(folder)
    if variant in found:
        return found[variant], variant
    there = f"{folder}: has {' and '.join(found) or 'no'} graphs, not {check_variant(variant)}"
    if variant == PLAIN:
        raise ModelError(f"{there}; give the model folder that they were made from")
    raise ModelError(f"{there}; make them with mixcodec variant {folder} {variant}")


def check_variant(variant: str) -> str:
    """`variant`, if there is such a thing. Raises ModelError."""
    if variant != PLAIN and variant not in VARIANTS:
        raise ModelError(f"unknown variant {variant!r}; there are {', '.join((PLAIN, *VARIANTS))}")
    return variant


def split_variant(name: str) -> tuple[str, str | None]:
    """The model and the variant of ``speech-16k:int8``, as evaluations name them; None where no variant is named."""
    model, colon, variant = name.rpartition(":")
    return (model, variant) if colon and model and variant in (PLAIN, *VARIANTS) else (name, None)


def _advice(name: str, known: list[str]) -> str:
    import difflib

    if not known:
        return "no model is shipped with this installation, so give the path of a model folder"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"did you mean {nearest!r}? (mixcodec models lists them; a path to a model folder works too)"
