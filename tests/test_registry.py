import pytest

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.mixers import MIXERS
from mixcodec.registry import Registry


def test_builds_from_a_dict_and_takes_from_the_context_what_it_needs():
    parts = Registry("part")

    @parts.register("box")
    class Box:
        def __init__(self, channels: int, size: int = 2) -> None:
            self.channels, self.size = channels, size

    box = parts.build({"kind": "box", "size": 5}, channels=3, unused=1)
    assert (box.channels, box.size) == (3, 5)
    assert parts.build("box", channels=4).size == 2
    with pytest.raises(ConfigError, match="missing a required argument: 'channels'"):
        parts.build("box")
    assert parts.build({"kind": "box", "channels": 6}).channels == 6
    with pytest.raises(ConfigError, match="'box': channels is not an option here, where it is 4"):
        parts.build({"kind": "box", "channels": 6}, channels=4)
    with pytest.raises(ValueError, match="registered twice"):
        parts.register("box")(Box)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "poling"}, "no mixer 'poling': did you mean 'pooling'"),
        ({"kind": "pooling", "sise": 3}, "no option 'sise': did you mean 'size'"),
        ({"size": 3}, "needs a 'kind'"),
        ({"kind": "pooling", 3: 2}, "no option 3: known: "),
        ({"kind": "pooling", None: 2}, "no option None: known: "),
        ({"kind": "pooling", "channels": 32}, "'pooling': channels is not an option here, where it is 4: leave it out"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(config, message):
    with pytest.raises(ConfigError, match=message):
        MIXERS.build(config, channels=4)


def test_every_option_is_named():
    """No constructor swallows what it does not know."""
    for family in (MIXERS, CHANNELS):
        for kind in family.kinds():
            assert not {"args", "kwargs"} & set(family.options(kind)), kind
