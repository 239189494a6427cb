import pytest

from mixcodec.errors import MixcodecError, UsageError
from mixcodec.evaluate.baselines import CODERS, parse_points


def points(*specs):
    return [coder.point for coder in parse_points(specs)]


def test_reads_kinds_models_and_settings():
    assert points("mixcodec:speech-16k@0.5,3", "opus@6,12", "identity") == [
        "mixcodec:speech-16k@0.5",
        "mixcodec:speech-16k@3",
        "opus@6",
        "opus@12",
        "identity",
    ]
    own = parse_points(["mixcodec"])[0]
    assert (own.codec, own.setting) == ("mixcodec:speech-16k", None)
    folder = parse_points(["mixcodec:/some/a@b/model@1.5"])[0]
    assert (folder.model, folder.setting) == ("/some/a@b/model", 1.5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("opsu@6", "did you mean 'opus'"),
        ("opus@", "cut short"),
        ("mixcodec:@1", "cut short"),
        ("opus@six", "numbers"),
        ("opus@6,6", "named twice"),
        ("opus:fast@6", "no models to choose from"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(UsageError, match=message):
        parse_points([spec])


def test_nothing_to_compare():
    with pytest.raises(UsageError, match="no codec is named"):
        parse_points([])


@pytest.mark.parametrize(
    "spec",
    [
        "opus@3",
        "opus",
        "codec2@5",
        "codec2",
        "speex@1",
        "mp3@1",
        "aac",
        "g722@32",
        "identity@5",
        "lowpass",
        "mixcodec@0.1",
        "mixcodec@4.1",
        "opus@inf",
        "opus@nan",
    ],
)
def test_a_wrong_setting_is_one_line(spec):
    with pytest.raises(MixcodecError) as caught:
        parse_points([spec])[0].check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", CODERS.kinds())
def test_every_coder_states_its_facts(kind):
    coder = CODERS.build({"kind": kind})
    assert coder.kind == kind
    assert coder.source
    assert coder.suffix.startswith(".")
