"""Recipes side by side: a base, and others that take something out of it, add to it or replace it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from mixcodec.errors import ConfigError
from mixcodec.evaluate.compare.variants import Variant, reason
from mixcodec.nn.codec import CodecNet
from mixcodec.registry import nearest
from mixcodec.train import Recipe, load_recipe

FOLDER = Path("configs") / "ablations"
"""Where the recipes are that are compared where none are named."""
SCORED = ("root", "manifest", "split", "kind", "min_rate", "sample_rate", "balance", "validation", "validation_fraction")
"""Fields of the data that decide which clips are scored: all recipes must have those of the base."""


def load_others(paths: Sequence[Path], under: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """The recipes in the files, or in FOLDER where there are none, with the overrides `under` made in their bases.

    Raises:
        ConfigError: a file is no recipe, or there are no files.
    """
    paths = list(paths) or sorted(FOLDER.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"{FOLDER} has no recipes; name those to compare with the base")
    return tuple(load_recipe(path, under=under) for path in paths)


def recipe_variants(base: Recipe, others: Sequence[Recipe], wanted: Sequence[str] = ()) -> list[Variant]:
    """One table: the base, then the others, or those of them whose names are wanted.

    Raises:
        ConfigError: two recipes have one name, a name is unknown, or a recipe would be scored on other clips than the base.
    """
    names = [recipe.name for recipe in (base, *others)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two of the recipes are called {name!r}; give each a name of its own")
    for name in wanted:
        if name not in names:
            raise ConfigError(f"no recipe {name!r}: {nearest(name, names)}")
    chosen = [recipe for recipe in (base, *others) if recipe is base or not wanted or recipe.name in wanted]
    for recipe in chosen:
        for field in SCORED:
            if getattr(recipe.data, field) != getattr(base.data, field):
                told = f"recipe {recipe.name!r}: its data.{field} is not that of {base.name!r}"
                raise ConfigError(f"{told}, so it would be scored on other clips")
    return [_variant(recipe) for recipe in chosen]


def _variant(recipe: Recipe) -> Variant:
    variant = Variant(recipe.name, recipe.name, "recipes", recipe.codec, recipe=recipe)
    try:
        with torch.random.fork_rng(devices=[]):
            CodecNet(recipe.codec)
    except Exception as error:  # a recipe that breaks must not take the others with it
        return dataclasses.replace(variant, problem=reason(error))
    return variant


def operating_points(base: Recipe) -> tuple[int, ...]:
    """Numbers of codebooks to score at: the usual one, and half of it."""
    with torch.random.fork_rng(devices=[]):
        usual = base.usual_codebooks or CodecNet(base.codec).codebooks
    return tuple(dict.fromkeys((usual, max(1, usual // 2))))
