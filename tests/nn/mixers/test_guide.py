"""The guide's mixer: it is as short as the guide says, obeys the laws, and its lines do what they say."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from tests.nn.conftest import CODEC

from mixcodec import outside
from mixcodec.cli.main import _parse
from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.mixers import MIXERS
from mixcodec.testing import LawError, check_mixer
from mixcodec.train import load_recipe

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "extend" / "mixer.md").read_text()
PART, CHECK, TEST = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
LINES = [shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(autouse=True)
def _beside_the_part(monkeypatch, tmp_path):
    """A working directory with the guide's file, and a registry that forgets it."""
    monkeypatch.setattr(MIXERS, "_classes", dict(MIXERS._classes))
    for name in ("_origins", "_loaded"):
        monkeypatch.setattr(outside, name, type(getattr(outside, name))(getattr(outside, name)))
    monkeypatch.setenv(outside.VARIABLE, "")
    (tmp_path / "my_parts.py").write_text(PART)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def part():
    outside.import_parts(["my_parts.py"])


def test_a_new_kind_takes_less_than_50_lines(part):
    assert len(PART.splitlines()) < 50
    assert MIXERS.options("decay") == ["channels", "decay", "causal", "rank"]


def test_it_obeys_all_laws_as_the_guide_says():
    exec(compile(CHECK, "docs/extend/mixer.md", "exec"), {})
    assert MIXERS._class("decay").__module__.startswith("mixcodec_parts_my_parts")


@pytest.mark.parametrize(
    ("there", "instead", "law"),
    [
        ("(Brown, 1956, Exponential Smoothing for Predicting Demand)", "", "docstring_says_what_it_is"),
        ("State: the mean.", "", "docstring_says_what_it_is"),
        ('one_form = "a mean of what is to come would need the end of the signal', 'one_form = "no', "form_runs_or_says_why"),
        ("; take 'pooling'", "; take 'poling'", "form_runs_or_says_why"),
        ('{"mean": last}', '{"mean": last[:, :1]}', "state_keeps_its_shape"),
        ("self.rate.new_zeros(batch", "self.rate.new_ones(batch", "begins_at_zero"),
        ("self.rate.new_zeros(batch, len(self.rate))", "torch.zeros(batch, len(self.rate))", "state_begins_where_the_mixer_is"),
        ("(1 - decay) * x,", "(1 - decay) * x.flip(1),", "nothing_from_the_future"),
        ("means.to(x.dtype)", "(means - means.mean(0, keepdim=True)).to(x.dtype)", "items_of_a_batch_are_independent"),
        ("means.to(x.dtype)", "means.to(torch.float64)", "keeps_shape_and_type"),
        ("self.gate(x)", "self.gate(x).detach()", "gradients_reach_everything"),
    ],
)
def test_what_breaks_a_law_is_found(there, instead, law, tmp_path):
    assert there in PART
    (tmp_path / "other.py").write_text(PART.replace(there, instead))
    outside.import_parts([str(tmp_path / "other.py")])
    with pytest.raises(LawError, match=law):
        check_mixer("decay", exported=False)


def test_a_loop_over_time_is_not_exported(tmp_path):
    loop = "means = torch.stack([(1 - decay) * x[:, t] for t in range(len(x[0]))], 1); last = means[:, -1]"
    scan = 'means, last = scan(decay.log().expand_as(x), (1 - decay) * x, state["mean"])'
    assert scan in PART
    (tmp_path / "other.py").write_text(PART.replace(scan, loop))
    outside.import_parts([str(tmp_path / "other.py")])
    with pytest.raises(LawError, match="exported_step_is_step"):
        check_mixer("decay")


def test_another_form_of_it_is_an_error_that_says_why(part):
    with pytest.raises(ConfigError, match="'decay' is causal alone: a mean of what is to come would need the end"):
        MIXERS.build({"kind": "decay", "causal": False}, channels=4)
    with pytest.raises(ConfigError, match="'decay': rank is 2, but a causal one runs along time alone"):
        MIXERS.build({"kind": "decay", "rank": 2}, channels=4)
    assert MIXERS.build({"kind": "decay", "causal": True, "rank": 1}, channels=4).grid_ranks == (1,)


def test_the_guides_own_test_passes(part):
    space = {}
    exec(compile(TEST, "docs/extend/mixer.md", "exec"), space)
    (test,) = (value for name, value in space.items() if name.startswith("test_"))
    test()


def test_a_codec_can_be_made_of_it(part):
    torch.manual_seed(0)
    stages = [{"depth": 2, "mixer": {"kind": "decay"}, "channel": "mlp"}]
    net = CodecNet(CODEC | {"decoder": CODEC["decoder"] | {"stages": stages}})
    assert list(net.decoder_state(1))[-2:] == ["net.0.mean", "net.1.mean"]


def test_its_lines_make_sense(part):
    words = {line[1]: line[2:] for line in LINES if line[0] == "mixcodec"}
    assert set(words) == {"train", "export", "compare"}
    for name, line in words.items():
        command = getattr(__import__(f"mixcodec.cli.{name}", fromlist=[name]), name)
        assert _parse(command, name, line).keywords["imports"] == ("my_parts.py",)
    options = words["train"][: words["train"].index("--import")] + words["train"][-1:]
    recipe = load_recipe(options[0], options[1:])
    assert "mixer" in recipe.codec["decoder"]["stages"][0]
    assert CodecNet(recipe.codec).decoder.blocks[0].mixer.__class__.__name__ == "Decay"
    assert str(recipe.folder / "best.safetensors") == words["export"][0]


def test_what_it_names_is_there():
    laws = (ROOT / "tests/nn/mixers/test_laws.py").read_text()
    for name in ("CAUSAL", "CENTRED", "RANKED", "NEVER", "GROUPS", "LINE_ALONE", "ONLY_CENTRED"):
        assert f"`{name}`" in GUIDE
        assert f"\n{name} = " in laws
