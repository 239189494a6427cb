import json
from pathlib import Path

import pytest

from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet
from mixcodec.train import load_recipe
from mixcodec.train.recipe import recipe_from_dict

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
SPEECH = next(path for path in CONFIGS if path.name == "speech-16k.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_builds_a_causal_codec(path):
    net = CodecNet(load_recipe(path).codec)
    assert net.encoder.causal
    assert sum(p.numel() for p in net.parameters()) < 10e6


def test_any_field_can_be_overridden():
    model = ["codec.decoder.width=48", "codec.encoder.stages.0.depth=2"]
    recipe = load_recipe(SPEECH, ["lr=1e-4", "data.batch_size=3", "loss.windows=[64, 128, 256]", *model])
    assert recipe.lr == 1e-4
    assert recipe.data.batch_size == 3
    assert recipe.codec["decoder"]["width"] == 48
    assert recipe.codec["encoder"]["stages"][0]["depth"] == 2
    assert recipe.loss.windows == (64, 128, 256)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "did you mean 'steps'"),
        ("data.batchsize=3", "did you mean 'batch_size'"),
        ("steps=many", "steps is 'many', but must be of type int"),
        ("steps=0", "must be positive"),
        ("steps", "no override"),
        ("codec.encoder.stages.7.depth=2", "not one of the 2 places"),
        ("steps.more=2", "holds no fields"),
        ("data.sample_rate=8000", "codec.sample_rate"),
        ("dropout=2", "must lie in"),
        ("lr=nan", "must be finite"),
        ("steps=.inf", "must be of type int"),
        ("name=a/b", "no model can have"),
        ("accelerator=gpuu", "did you mean 'gpu'"),
        ("precision=bf16", "did you mean"),
        ("betas=[0.9]", "two numbers"),
        ("loss.windows=[a, b, c]", "whole numbers"),
        ("adversary.every=0", "must be positive"),
        ("out=runs/{nme}", "only {name}"),
        ("out=runs/caf\udce9", r"out is 'runs/caf\\udce9', but must be UTF-8"),
        ("hours=-1", "hours is -1"),
        ("initial=3", "initial is 3, but must be of type str"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(SPEECH, [override])


def test_a_missing_file_and_no_yaml_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "short.yaml").write_text("steps: 3")
    with pytest.raises(ConfigError, match="needs name, codec"):
        load_recipe(tmp_path / "short.yaml")


def test_a_recipe_survives_being_written_down():
    recipe = load_recipe(SPEECH)
    assert recipe_from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_a_recipe_changes_its_base_and_nothing_else(tmp_path):
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "small.yaml").write_text(
        f"base: {SPEECH}\nsteps: 7\nloss: {{envelope: 0}}\ncodec: {{quantizer: {{codebooks: 4}}}}\n"
    )
    (tmp_path / "top.yaml").write_text(
        "base: sub/small.yaml\nname: other\ncodec: {quantizer: {kind: fsq, levels: [5, 5]}}\nema: 0.5\n"
    )
    base, small, top = (load_recipe(path).as_dict() for path in (SPEECH, folder / "small.yaml", tmp_path / "top.yaml"))
    base |= {"name": "small", "steps": 7}
    base["loss"]["envelope"] = 0
    base["codec"]["quantizer"]["codebooks"] = 4
    assert small == base
    base |= {"name": "other", "ema": 0.5}
    base["codec"]["quantizer"] = {"kind": "fsq", "levels": [5, 5]}  # a part of another kind has none of the old one's options
    assert top == base


def test_overrides_of_the_base_leave_what_a_recipe_changes(tmp_path):
    (tmp_path / "no-ema.yaml").write_text(f"base: {SPEECH}\nema: 0\n")
    recipe = load_recipe(tmp_path / "no-ema.yaml", under=["ema=0.5", "steps=9"])
    assert (recipe.ema, recipe.steps) == (0, 9)
    assert load_recipe(tmp_path / "no-ema.yaml", ["ema=0.25"], ["ema=0.5"]).ema == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: a.yaml", r"a\.yaml: a recipe cannot be its own base"),
        ("base: b.yaml", "a recipe cannot be its own base"),
        ("base: none.yaml", r"none\.yaml: cannot be read"),
        ("base: [a.yaml]", "must be the path of a recipe"),
        (f"base: {SPEECH}\nstepz: 3", "did you mean 'steps'"),
    ],
)
def test_a_wrong_base_says_what_is_wrong(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "a.yaml")


def test_ablations_have_the_parameters_of_their_base():
    """Within 1 %: what a part costs more or less is made up for, so that a table does not compare sizes."""
    wanted = sum(p.numel() for p in CodecNet(load_recipe(SPEECH).codec).parameters())
    for path in CONFIGS:
        if path.parent.name == "ablations":
            recipe = load_recipe(path)
            assert recipe.name == path.stem
            assert sum(p.numel() for p in CodecNet(recipe.codec).parameters()) == pytest.approx(wanted, rel=0.01), path
