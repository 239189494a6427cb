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


@pytest.mark.parametrize("kind", MIXERS.kinds())
def test_the_channels_are_the_stacks_and_an_option_is_a_word(kind):
    for more, told in (({"channels": 32}, r"(: channels is|has) (not an|no) option\b"), ({3: 2}, " has no option 3")):
        with pytest.raises(ConfigError, match=f"^mixer '{kind}' ?{told}"):
            MIXERS.build({"kind": kind} | more, channels=16)


@pytest.mark.parametrize("kind", ["inception", "mixed_span"])
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"layer": 1}, "layer is 1, but must be a whole number from 0 to 0"),
        ({"layer": -1, "layers": 2}, "layer is -1"),
        ({"layer": 0.5, "layers": 2}, "layer is 0.5"),
        ({"layer": None}, "layer is None"),
        ({"layers": 0}, "layers is 0"),
        ({"layers": "4"}, "layers is '4'"),
    ],
)
def test_a_layer_is_one_of_the_stacks(kind, more, told):
    with pytest.raises(ConfigError, match=f"mixer '{kind}': {told}"):
        MIXERS.build({"kind": kind} | more, channels=16)


@pytest.mark.parametrize(
    ("kind", "name"), [("combiner", "group"), ("lococo", "chunk"), ("interleaved", "group"), ("gated_attention", "chunk")]
)
def test_a_group_has_a_largest_size(kind, name):
    MIXERS.build({"kind": kind, name: 4096}, channels=16)
    with pytest.raises(ConfigError, match=f"{name} is 4097, but must be a whole number from 2 to 4096"):
        MIXERS.build({"kind": kind, name: 4097}, channels=16)
