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
