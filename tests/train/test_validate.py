"""Validation: what the judges say goes into the metrics, and the score is the formula that is written down."""

import importlib.util
import logging

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.evaluate.metrics import METRICS
from mixcodec.judges import panel
from mixcodec.judges.panel import JUDGES, ask, judges_present
from mixcodec.train import Trainer, load_checkpoint
from mixcodec.train.validate import SCORED_BY, score, scored_by, validate

RATE = 16000
SAID = {"pesq": 2.0, "stoi": 0.9, "distillmos": 3.0, "dnsmos": 2.75, "harmonicity": -2.0, "f0": 20.0, "voicing": 0.1}
SAID |= {"modulation_1": 1.0, "modulation_2": -2.0, "modulation_3": 6.0}


def metrics(k=4, **changed):
    return {f"{name}_{k}": value for name, value in (SAID | {"mel": 0.5} | changed).items() if value is not None}


def test_the_score_is_the_formula():
    by_hand = -(3.0 + 2.75 + 2.0 + 2.5 * 0.9) / 4 + 0.1 * 2.0 + 0.05 * 3.0 + 0.3 * 0.5
    assert score(metrics(), [4], SCORED_BY) == pytest.approx(by_hand)
    both = metrics(4) | metrics(2, mel=0.7, harmonicity=2.0)
    assert score(both, [2, 4], JUDGES) == pytest.approx(by_hand + 0.3 * 0.1)
    assert score(both, [2, 4], [*SCORED_BY[1:], "pitch"]) == pytest.approx(0.6), "with a judge missing, mel alone"
    assert scored_by(SCORED_BY[1:]) == ()


@pytest.mark.parametrize("name", [*SAID, "mel"])
def test_each_part_lowers_it_when_it_gets_better(name):
    if name in ("f0", "voicing"):
        return
    better = {"mel": 0.4, "harmonicity": 1.0, "modulation_1": 0.5, "modulation_2": 1.0, "modulation_3": 5.0}.get(name)
    better = SAID[name] + 0.1 if better is None else better
    assert score(metrics(**{name: better}), [4], SCORED_BY) < score(metrics(), [4], SCORED_BY)
    if name != "mel":
        assert score(metrics(**{name: None}), [4], SCORED_BY) > score(metrics(), [4], SCORED_BY), "no value is no gain"


@pytest.fixture
def asked(monkeypatch):
    """Judges who say SAID, and what they were asked."""
    pairs = []

    def answer(names, reference, wave, sample_rate, frame_rate):
        if not names:
            return {}
        pairs.append((tuple(names), reference, wave, sample_rate, frame_rate))
        return SAID if len(pairs) % 2 else {"stoi": 0.7}

    monkeypatch.setattr("mixcodec.train.validate.ask", answer)
    return pairs


def test_the_judges_hear_every_segment_at_every_rate(tiny_recipe, tmp_path, asked):
    trainer = Trainer(tiny_recipe(out=str(tmp_path)))
    found, audio = validate(trainer.ema, trainer.data, trainer.spectral, SCORED_BY)
    segments, rates = 4, {2, 3, 4}
    assert len(asked) == segments * len(rates)
    names, reference, wave, sample_rate, frame_rate = asked[0]
    assert (names, sample_rate, frame_rate) == (SCORED_BY, RATE, 100.0)
    assert reference.shape == wave.shape
    assert np.array_equal(reference, audio["original"].numpy())
    for k in rates:
        assert found[f"stoi_{k}"] == pytest.approx((SAID["stoi"] + 0.7) / 2), "the mean over the segments"
        assert found[f"distillmos_{k}"] == SAID["distillmos"], "over those that have a value"
    assert found["score"] == pytest.approx(score(found, sorted(rates), SCORED_BY))
    plain, _ = validate(trainer.ema, trainer.data, trainer.spectral)
    assert plain["score"] == pytest.approx(np.mean([plain[f"mel_{k}"] for k in rates]))
    assert not any(name.startswith("stoi") for name in plain)


def test_a_run_keeps_by_what_it_chose_and_says_when_it_is_mel_alone(tiny_recipe, tmp_path, asked, monkeypatch, caplog):
    monkeypatch.setattr("mixcodec.train.loop.judges_present", lambda names: tuple(names))
    recipe = tiny_recipe(out=str(tmp_path), judges=list(SCORED_BY))
    with caplog.at_level(logging.WARNING):
        trainer = Trainer(recipe)
        trainer.run(until=4)
    assert not caplog.records
    assert trainer.best == trainer.history[-1]["score"] < 0
    assert load_checkpoint(tmp_path / "last.safetensors")[1]["judges"] == list(SCORED_BY)
    assert Trainer(recipe).best == trainer.best
    monkeypatch.setattr("mixcodec.train.loop.judges_present", lambda names: tuple(n for n in names if n != "distillmos"))
    with caplog.at_level(logging.WARNING):
        other = Trainer(recipe)
    assert "the least mel distance, since there is no judge distillmos" in caplog.text
    assert other.best == float("inf"), "scores of two kinds are not compared"


def test_judges_do_not_disturb_the_training(tiny_recipe, tmp_path):
    """With all that are installed: the same weights as with none."""
    runs = [Trainer(tiny_recipe(out=str(tmp_path / str(len(judges))), judges=judges)) for judges in ([], ["stoi", "modulation"])]
    for run in runs:
        run.run()
    one, two = (load_checkpoint(run.checkpoint)[0] for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_unknown_judge_is_an_error(tiny_recipe):
    with pytest.raises(ConfigError, match="did you mean 'stoi'"):
        tiny_recipe(judges=["stoy"])


def test_sound_of_a_telephone_is_judged_by_nobody(tiny_recipe, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("mixcodec.train.loop.JUDGED_RATE", 2 * RATE)
    assert Trainer(tiny_recipe(out=str(tmp_path), judges=["stoi"])).judges == ()
    assert "nobody judges sound of less than 32000 Hz" in caplog.text


def test_present_are_those_whose_packages_are_there(monkeypatch):
    assert judges_present(["modulation"]) == ("modulation",)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "speechmos" else real(name, *rest))
    assert "dnsmos" not in judges_present(JUDGES)


@pytest.mark.parametrize(
    ("judge", "kind", "names"),
    [
        ("pesq", "pesq_wb", {"pesq": "pesq_wb"}),
        ("distillmos", "distillmos", {"distillmos": "distillmos"}),
        ("harmonicity", "harmonicity", {"harmonicity": "harmonicity_change"}),
        ("modulation", "modulation", {f"modulation_{k}": f"modulation_{k}" for k in (1, 2, 3)}),
        ("pitch", "pitch", {"f0": "f0_error", "voicing": "voicing_error"}),
    ],
)
def test_the_panel_says_what_the_metrics_say(judge, kind, names, speech):
    if not judges_present([judge]):
        pytest.skip(f"the package of {judge} is not installed")
    decoded = speech + np.random.default_rng(0).normal(0, 0.01, len(speech)).astype(np.float32)
    metric = METRICS.build(kind)
    theirs = metric.measure(metric.prepare(speech, RATE), decoded, RATE)
    ours = ask([judge], speech, decoded, RATE)
    assert ours == {name: pytest.approx(theirs[scale], rel=1e-6) for name, scale in names.items()}


def test_one_window_of_dnsmos_is_nearly_all_of_them(speech):
    pytest.importorskip("speechmos", reason="the networks of DNSMOS are in mixcodec[eval]")
    metric = METRICS.build("dnsmos")
    whole = metric.measure(None, speech, RATE)["dnsmos_ovrl"]
    assert ask(["dnsmos"], speech, speech, RATE)["dnsmos"] == pytest.approx(whole, abs=0.1)


def test_what_has_no_value_is_left_out():
    silence = np.zeros(RATE, np.float32)
    assert ask(["harmonicity", "modulation", "pitch", "stoi"], silence, silence, RATE) == {}
    assert panel.OPINION_WINDOWS == 1


@pytest.fixture(scope="module")
def speech():
    from pathlib import Path

    from mixcodec.audio import read_audio

    return read_audio(Path(__file__).parents[2] / "examples" / "queue.flac")[0][: 3 * RATE]
