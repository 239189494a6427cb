"""The guide's mixer: it is as short as the guide says, and obeys the laws."""

import re
from pathlib import Path

import pytest
import torch
from tests.nn.conftest import CODEC
from tests.nn.mixers import test_laws as laws

from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.mixers import MIXERS

ROOT = Path(__file__).parents[3]
PART, TEST = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extend" / "mixer.md").read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(MIXERS, "_classes", dict(MIXERS._classes))
    exec(compile(PART, "docs/extend/mixer.md", "exec"), {"__name__": "decay"})


def test_a_new_kind_takes_less_than_50_lines():
    assert len(PART.splitlines()) < 50
    assert MIXERS.options("decay") == ["channels", "decay", "causal", "rank"]


def test_another_form_of_it_is_an_error_that_says_why():
    with pytest.raises(ConfigError, match="'decay' is causal alone: a mean of what is to come would need the end"):
        MIXERS.build({"kind": "decay", "causal": False}, channels=4)
    with pytest.raises(ConfigError, match="'decay': rank is 2, but a causal one runs along time alone"):
        MIXERS.build({"kind": "decay", "rank": 2}, channels=4)
    assert MIXERS.build({"kind": "decay", "causal": True, "rank": 1}, channels=4).grid_ranks == (1,)


def test_it_obeys_the_laws():
    config = {"kind": "decay", "decay": 0.7}
    laws.test_gradients_reach_every_parameter_and_the_input(config, (laws.LENGTH,))
    laws.test_items_of_a_batch_are_independent(config, (laws.LENGTH,))
    laws.test_bfloat16_stays_finite_and_near(config, (laws.LENGTH,))
    laws.test_forward_is_step_in_any_chunks(config, [1, 5, 21])
    laws.test_no_output_depends_on_the_future(config)
    laws.test_state_keeps_its_shape_and_begins_at_zero(config)


@pytest.mark.filterwarnings("ignore")
def test_its_exported_step_is_its_step(tmp_path, monkeypatch):
    monkeypatch.setitem(laws.GROUPS, "decay", [{"kind": "decay"}])
    laws.test_the_exported_step_is_the_step("decay", tmp_path)


def test_the_guides_own_test_passes():
    space = {}
    exec(compile(TEST, "docs/extend/mixer.md", "exec"), space)
    (test,) = (value for name, value in space.items() if name.startswith("test_"))
    test()


def test_a_codec_can_be_made_of_it():
    torch.manual_seed(0)
    stages = [{"depth": 2, "mixer": {"kind": "decay"}, "channel": "mlp"}]
    net = CodecNet(CODEC | {"decoder": CODEC["decoder"] | {"stages": stages}})
    assert list(net.decoder_state(1))[-2:] == ["net.0.mean", "net.1.mean"]
