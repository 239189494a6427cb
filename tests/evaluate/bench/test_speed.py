"""Turns are taken one after the other, and workers answer."""

import sys

import pytest

from mixcodec.errors import MixcodecError
from mixcodec.evaluate.bench.results import Sample, Speed, spread
from mixcodec.evaluate.bench.signal import synthetic_voice, write_looped
from mixcodec.evaluate.bench.speed import Worker, interleave, measure_speed
from mixcodec.evaluate.bench.subjects import Ours


def fakes(order, **walls):
    """Turns that note down when they are called and pretend to take so long."""

    def turn(name, wall):
        return lambda: order.append(name) or Sample(wall, wall)

    return {name: turn(name, wall) for name, wall in walls.items()}


def test_everybody_has_a_turn_before_anybody_has_another():
    order = []
    samples = interleave(fakes(order, a=1.0, b=2.0, c=0.5), repeats=4)
    assert "".join(order) == "abc" * 4
    assert [sample.wall for sample in samples["b"]] == [2.0] * 4


def test_the_slow_leave_after_three_turns_and_the_others_go_on():
    order = []
    interleave(fakes(order, a=1.0, slow=5.0), repeats=5, patience=12)
    assert order == ["a", "slow"] * 3 + ["a"] * 2
    order.clear()
    interleave(fakes(order, a=1.0, slow=100.0), repeats=2, patience=12)
    assert order == ["a", "slow"] * 2


def test_spread_and_speed():
    speed = Speed("a", 1, "encode", 10.0, [Sample(0.5, 0.1), Sample(0.1, 0.2), Sample(0.2, 0.4)])
    assert speed.times_real(lambda sample: sample.wall) == spread([20.0, 100.0, 50.0])
    assert speed.times_real(lambda sample: sample.cpu).median == pytest.approx(50)


@pytest.fixture
def clips(tmp_path):
    write_looped(tmp_path / "clip.wav", synthetic_voice(16000), 16000, 1)
    return {16000: tmp_path / "clip.wav"}


def test_workers_measure_a_model(tiny_model, clips):
    speeds, flops = measure_speed([Ours(str(tiny_model))], clips, 1.0, 2, 2, True, lambda _: None)
    assert [(speed.direction, speed.threads, len(speed.samples)) for speed in speeds] == [("encode", 2, 2), ("decode", 2, 2)]
    assert all(sample.wall > 0 and sample.cpu > 0 for speed in speeds for sample in speed.samples)
    # The encoder's one product: 640 samples with 8 columns, for 50 frames a second and one more of the delay.
    assert [(entry.direction, entry.per_second) for entry in flops] == [("encode", 2 * 51 * 640 * 8), ("decode", 0)]


def test_a_model_that_cannot_be_loaded_is_the_users_mistake(make_model, tmp_path, clips):
    subject = Ours(str(make_model(tmp_path / "broken")))
    (tmp_path / "broken" / "encoder.onnx").write_bytes(b"nothing")
    with pytest.raises(MixcodecError, match=r"encoder\.onnx: cannot be loaded"), Worker(subject, clips[16000], 1) as worker:
        worker.wait()


def test_a_worker_that_dies_is_told_with_its_last_words(tiny_model, clips, monkeypatch):
    dying = [sys.executable, "-c", "import sys; sys.exit('no more cheese')"]
    monkeypatch.setattr("mixcodec.evaluate.bench.speed.worker_command", lambda task: dying)
    with (
        pytest.raises(MixcodecError, match=r"failed with status 1 .*: no more cheese"),
        Worker(Ours(str(tiny_model)), clips[16000], 1) as worker,
    ):
        worker.wait()
