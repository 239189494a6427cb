"""Options of mixers and channel mixers that make no sense are errors in one line, not tracebacks."""

import math

import pytest

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.mixers import MIXERS

NO_NUMBERS = ["x", None, [], {}, math.nan, math.inf, -1, True]
MIXER_OPTIONS = [("mixed_span", "far", value) for value in (-1, None, 3, {}, True, "x", [None], [1], [0.5], ["0"])]
MIXER_OPTIONS += [
    (kind, name, value)
    for kind, name in (("inception", "low_first"), ("inception", "low_last"), ("multi_frequency", "share"), ("gla", "heads"))
    for value in (*NO_NUMBERS, 0)
]
MIXER_OPTIONS += [("decay_attention", "mask", []), ("hidden_state", "expansion", math.inf)]
MIXER_OPTIONS += [("hidden_state", "expansion", "x"), ("gated_attention", "expansion", None)]
EXPANDING = [kind for kind in CHANNELS.kinds() if "expansion" in CHANNELS.options(kind)]
CHANNEL_OPTIONS = [(kind, "expansion", value) for kind in EXPANDING for value in (*NO_NUMBERS, 0, 1e9)]
CHANNEL_OPTIONS += [("glu", "gate", value) for value in ([], None, {}, 1, "glue")]


@pytest.mark.parametrize(("kind", "name", "value"), MIXER_OPTIONS)
def test_a_mixers_option_that_makes_no_sense_is_named(kind, name, value):
    with pytest.raises(ConfigError, match=name) as told:
        MIXERS.build({"kind": kind, name: value}, channels=16)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("kind", "name", "value"), CHANNEL_OPTIONS)
def test_a_channel_mixers_option_that_makes_no_sense_is_named(kind, name, value):
    with pytest.raises(ConfigError, match=name) as told:
        CHANNELS.build({"kind": kind, name: value}, channels=16)
    assert "\n" not in str(told.value)
