"""What a variant gains, by a clock that is made up."""

import itertools
import shutil

import pytest

from mixcodec.cli.main import main
from mixcodec.errors import ModelError
from mixcodec.runtime import speed
from mixcodec.runtime.codec import Codec
from mixcodec.runtime.speed import Gain, told, variant_gain


@pytest.fixture
def folder(make_model, tmp_path):
    """The tiny model with its own graphs as int8."""
    folder = make_model(tmp_path / "tiny")
    for way in ("encoder", "decoder"):
        shutil.copy(folder / f"{way}.onnx", folder / f"{way}.int8.onnx")
    return folder


@pytest.fixture
def clock(monkeypatch):
    """A clock that work moves: encoding takes 3 s with plain graphs and 2 s with others, decoding 1 s and 4 s; loading none."""
    now = [0.0]

    def slow(work, plain, other):
        def run(self, *words, **options):
            now[0] += plain if self.variant == "float32" else other
            return work(self, *words, **options)

        return run

    monkeypatch.setattr(Codec, "wave_to_tokens", slow(Codec.wave_to_tokens, 3.0, 2.0))
    monkeypatch.setattr(Codec, "tokens_to_wave", slow(Codec.tokens_to_wave, 1.0, 4.0))
    return lambda: now[0]


def test_both_are_timed_in_turn(folder, clock, monkeypatch):
    assert variant_gain(folder, "int8", clock=clock) == Gain(1.5, 0.25)
    order = []
    monkeypatch.setattr(Codec, "wave_to_tokens", lambda self, *rest: order.append(self.variant))
    monkeypatch.setattr(Codec, "tokens_to_wave", lambda self, *rest: None)
    variant_gain(folder, "int8", clock=itertools.count().__next__)
    assert order[: 2 * speed.ROUNDS] == ["float32", "int8"] * speed.ROUNDS


def test_graphs_in_a_place_of_their_own(folder, clock, tmp_path):
    place = tmp_path / "apart"
    place.mkdir()
    shutil.copy(folder / "config.json", place)
    for way in ("encoder", "decoder"):
        shutil.move(folder / f"{way}.int8.onnx", place)
    with pytest.raises(ModelError, match="not int8"):
        variant_gain(folder, "int8")
    assert variant_gain(folder, "int8", place, clock).encode == 1.5


@pytest.mark.parametrize(
    ("gain", "advice"),
    [
        (Gain(1.65, 2.03), "worth it here, with --variant int8"),
        (Gain(1.1, 1.2), "worth it here"),
        (Gain(1.02, 1.04), "hardly worth it here"),
        (Gain(0.97, 1.0), "hardly worth it here"),
        (Gain(0.6, 0.7), "slower here, leave it"),
        (Gain(0.9, 1.05), "slower here, leave it"),
        (Gain(0.6, 1.9), "use it for decoding alone"),
        (Gain(1.9, 0.6), "use it for encoding alone"),
    ],
)
def test_it_is_advised_only_where_it_is_faster(gain, advice):
    line = told("int8", gain)
    assert advice in line
    assert f"encodes {gain.encode:.2f} and decodes {gain.decode:.2f} times as fast as float32" in line
    assert "\n" not in line


def test_info_times_the_variants_of_a_model(folder, make_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "variant_gain", lambda name, variant: Gain(1.5, 2.5))
    assert main(["info", str(folder), "--time"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == told("int8", Gain(1.5, 2.5))
    assert main(["info", str(folder)]) == 0
    assert "times as fast" not in capsys.readouterr().out
    assert main(["info", str(make_model(tmp_path / "bare")), "--time"]) == 0
    assert "has no variants to time" in capsys.readouterr().out
