"""Recipes side by side."""

import dataclasses

import numpy as np
import pytest

from mixcodec.errors import ConfigError, FileError
from mixcodec.evaluate.compare import Clips, compare, markdown, write_comparison
from mixcodec.evaluate.compare.recipes import load_others, operating_points, recipe_variants
from mixcodec.evaluate.compare.trial import weights_hash
from mixcodec.train import Trainer


@pytest.fixture(scope="module")
def plan(tiny_plan):
    plan = tiny_plan("recipes", clips=Clips(3, 1.0, books=(2, 1)))
    base = plan.recipe
    wide = base.codec | {"encoder": base.codec["encoder"] | {"width": 24}}
    others = (
        dataclasses.replace(base, name="mel", loss=dataclasses.replace(base.loss, magnitude=0.0, complex=0.0)),
        dataclasses.replace(base, name="wide", codec=wide),
        dataclasses.replace(base, name="luck", seed=1),
    )
    return dataclasses.replace(plan, others=others)


@pytest.fixture(scope="module")
def comparison(plan, tmp_path_factory):
    return compare(plan, tmp_path_factory.mktemp("recipes"))


def test_each_recipe_is_trained_by_itself(plan, comparison, tmp_path):
    assert [v.name for v in comparison.variants] == ["tiny", "mel", "wide", "luck"]
    rows = {v.name: comparison.of(v)[0] for v in comparison.variants}
    assert {row["status"] for row in rows.values()} == {"done"}, rows
    assert len({row["weights"] for row in rows.values()}) == 4
    assert rows["wide"]["parameters"] > rows["tiny"]["parameters"]
    trainer = Trainer(dataclasses.replace(plan.others[0], out=str(tmp_path)))
    trainer.run()
    assert rows["mel"]["weights"] == weights_hash(trainer.ema), "what mixcodec train makes of it"


def test_the_table_tells_both_rates_and_the_differences(comparison, tmp_path):
    rows = {v.name: comparison.of(v)[0] for v in comparison.variants}
    text = markdown(comparison)
    table, difference = text.split("## Recipes: difference from tiny")
    mean = np.mean(list(rows["mel"]["scores"]["mel_distance@1"].values()))
    line = next(line for line in table.splitlines() if line.startswith("| mel |"))
    assert f"{mean:.3f} [" in line
    for scale in ("mel_distance", "stoi@1"):
        own, base = (rows[name]["scores"][scale] for name in ("mel", "tiny"))
        away = np.mean([own[clip] - base[clip] for clip in base])
        line = next(line for line in difference.splitlines() if line.startswith("| mel |"))
        assert f"{abs(away):.3f}" in line
    assert rows["tiny"]["nominal_bits"] == 8
    assert "mel distance, 1 codebooks" in text
    write_comparison(comparison, tmp_path)


def test_a_run_goes_on_and_knows_what_it_began_with(plan, comparison, tmp_path):
    few = dataclasses.replace(plan, kinds=("mel",))
    begun = compare(few, tmp_path / "a")
    assert [v.name for v in begun.variants] == ["tiny", "mel"]
    assert begun.rows["recipes/mel"][0]["weights"] == comparison.rows["recipes/mel"][0]["weights"]
    trainer = Trainer(dataclasses.replace(plan.recipe, out=str(tmp_path / "run"), steps=4))
    trainer.run()
    later = compare(dataclasses.replace(few, initial=trainer.checkpoint), tmp_path / "a")
    assert later.rows["recipes/mel"][0]["weights"] != begun.rows["recipes/mel"][0]["weights"]
    assert "from the weights of last.safetensors" in markdown(later)
    whole = compare(dataclasses.replace(plan, initial=trainer.checkpoint), tmp_path / "a")
    row = whole.rows["recipes/wide"][0]
    assert "another codec" in row["reason"], "weights that do not fit are a row with this reason"
    with pytest.raises(FileError, match="cannot be read as a checkpoint"):
        compare(dataclasses.replace(few, initial=tmp_path / "none.safetensors"), tmp_path / "b")


def test_recipes_that_cannot_be_compared_are_refused(plan):
    base = plan.recipe
    with pytest.raises(ConfigError, match="did you mean 'mel'"):
        recipe_variants(base, plan.others, ["mell"])
    with pytest.raises(ConfigError, match="two of the recipes are called 'tiny'"):
        recipe_variants(base, [base])
    data = dataclasses.replace(base.data, validation=("s1",))
    with pytest.raises(ConfigError, match=r"its data\.validation is not that of 'tiny'"):
        recipe_variants(base, [dataclasses.replace(base, name="other", data=data)])
    broken = dataclasses.replace(base, name="broken", codec=base.codec | {"latent": 0})
    assert "latent" in recipe_variants(base, [broken])[1].problem


def test_the_shipped_ablations_are_found_and_change_the_base(monkeypatch, tmp_path):
    from pathlib import Path

    monkeypatch.chdir(Path(__file__).parents[3])
    others = load_others([], ["ema=0.5", "steps=11"])
    assert {recipe.steps for recipe in others} == {11}
    assert {recipe.ema for recipe in others} == {0, 0.5}
    assert operating_points(others[0]) == (8, 4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="has no recipes"):
        load_others([])
