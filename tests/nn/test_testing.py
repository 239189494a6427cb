"""check_mixer and check_quantizer on kinds of every sort, and what they say of one that breaks laws."""

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS, Convolution
from mixcodec.testing import LawError, check_mixer, check_quantizer
from mixcodec.testing.law import hold, near, refused

MIXER_CONFIGS = [
    "identity",
    "gla",
    {"kind": "pooling", "size": 4},
    {"kind": "mixer_mlp", "causal": False, "size": 37},
    {"kind": "attention", "window": 6},
    {"kind": "outlook", "rank": 2},
    {"kind": "separable", "causal": False, "rank": 2},
]


@pytest.mark.parametrize("config", MIXER_CONFIGS, ids=str)
def test_mixers_of_every_sort_pass(config):
    check_mixer(config, exported=False)


def test_the_exported_graphs_are_checked_too():
    check_mixer("convolution")
    check_mixer({"kind": "pooling", "causal": False, "rank": 1})
    check_quantizer({"kind": "fsq", "levels": [5, 4, 3]})


@pytest.mark.parametrize(
    "config",
    [{"kind": "vq", "size": 32, "dim": 4}, {"kind": "residual", "codebooks": 3, "codebook": {"size": 32, "dim": 4}}],
    ids=str,
)
def test_quantizers_pass(config):
    check_quantizer(config, exported=False)


def test_all_broken_laws_are_listed(monkeypatch):
    class Nothing(Convolution):
        """Nobody's."""

        def step(self, x, state):
            y, state = super().step(x, state)
            return (y + x.mean()).detach(), state

    monkeypatch.setattr(MIXERS, "_classes", MIXERS._classes | {"nothing": Nothing})
    with pytest.raises(LawError) as error:
        check_mixer("nothing", exported=False)
    told = str(error.value).splitlines()
    assert told[0].startswith("mixer kind=nothing breaks ")
    assert told[0].endswith(f" {len(told) - 1} laws:")
    names = {line.split(" ")[1].split(",")[0].removesuffix(":") for line in told[1:]}
    assert names >= {
        "gradients_reach_everything",
        "items_of_a_batch_are_independent",
        "nothing_from_the_future",
        "forward_is_step",
        "docstring_says_what_it_is",
    }
    with pytest.raises(ConfigError, match="no mixer 'nothingg'"):
        check_mixer("nothingg")


def test_what_laws_are_written_with():
    hold(torch.ones(1).any(), "")
    near(torch.ones(3), torch.ones(3) + 1e-6, 1e-5)
    for broken in (
        lambda: hold(torch.zeros(1).any(), "zero"),
        lambda: near(torch.ones(3), torch.zeros(3), 0.5),
        lambda: near(torch.ones(3), torch.ones(2), 0.5),
        lambda: near(torch.tensor([float("nan")]), torch.ones(1), 0.5),
        lambda: refused(lambda: None, "", "it"),
        lambda: refused(lambda: 1 / 0, "", "it"),
        lambda: refused(lambda: MIXERS.build("poolin"), "another reason", "it"),
    ):
        with pytest.raises(LawError):
            broken()
    refused(lambda: MIXERS.build("poolin"), "no mixer 'poolin'", "it")
