"""The steps of a run that has hours instead. Time is made up."""

import dataclasses
import itertools
import math

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.train import Trainer, load_checkpoint
from mixcodec.train.budget import CHECKS, Budget, Leg
from mixcodec.train.loop import schedule


@pytest.fixture
def recipe(tiny_recipe):
    return lambda **changes: tiny_recipe(**({"warmup": 20, "lr_floor": 0.1} | changes))


def spent(budget, pace, step=0, used=0.0, most=200_000):
    """Runs until the end that the budget chooses, a step taking `pace(step)` seconds; the steps and the seconds."""
    while budget.end is None or step < budget.end:
        assert step < most
        used += pace(step)
        step += 1
        budget.seen(step, used)
    return step, used


@pytest.mark.parametrize("pace", [0.05, 0.4, 13.5])
def test_a_steady_machine_meets_the_budget(recipe, pace):
    budget = Budget(recipe(hours=2.0))
    steps, used = spent(budget, lambda step: pace)
    assert used == pytest.approx(7200, rel=0.03)
    assert steps == pytest.approx(7200 / pace, rel=0.03)


def test_a_machine_that_becomes_slower_or_faster_meets_it_too(recipe):
    for pace in (lambda step: 0.4 if step < 3000 else 0.9, lambda step: 0.9 if step < 3000 else 0.3):
        budget = Budget(recipe(hours=2.0))
        _, used = spent(budget, pace)
        assert used == pytest.approx(7200, rel=0.05)
        assert len(budget.legs) < 3 * CHECKS


def test_the_end_leaves_time_to_validate_and_save(recipe):
    budget = Budget(recipe(hours=1.0))
    budget.tail = 300.0
    assert spent(budget, lambda step: 1.0)[1] == pytest.approx(3300, rel=0.03)


def test_the_schedule_rises_falls_and_never_jumps(recipe):
    budget = Budget(recipe(hours=1.0))
    rates, step, used = [], 0, 0.0
    while budget.end is None or step < budget.end:
        rates.append(budget.schedule(step))
        used += 1.0 if step < 1500 else 2.0
        step += 1
        budget.seen(step, used)
    assert rates[19] == pytest.approx(1)
    assert all(a <= b for a, b in itertools.pairwise(rates[:20]))
    assert all(a >= b for a, b in itertools.pairwise(rates[20:]))
    assert max(a - b for a, b in itertools.pairwise(rates[20:])) < 0.005
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_few_steps_are_warmed_up_less(recipe):
    budget = Budget(recipe(hours=0.1, warmup=1000))
    rates = [budget.schedule(step) for step in range(spent(budget, lambda step: 4.0)[0])]
    assert rates[-1] < 0.4 * max(rates), "it falls, though it has not risen to the top"


def test_a_budget_of_no_time_ends_after_a_step(recipe):
    assert spent(Budget(recipe(hours=1e-6)), lambda step: 1.0)[0] == 1


def test_without_hours_the_steps_are_the_recipes(recipe):
    budget = Budget(recipe(steps=110))
    assert (budget.end, budget.legs) == (110, [])
    assert not budget.seen(3, 1e9)
    asked = recipe(steps=110)
    for step in range(120):
        done = min(1.0, (step - 20) / 90)
        fall = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
        wanted = (step + 1) / 20 if step < 20 else fall
        assert budget.schedule(step) == pytest.approx(wanted) == schedule(step, asked)


def test_it_goes_on_with_what_it_has_chosen(recipe):
    first, asked = Budget(recipe(hours=1.0)), recipe(hours=1.0)
    for step in range(1, 500):
        first.seen(step, 1.0 * step)
    meta = {"recipe": asked.as_dict(), "plan": [list(leg) for leg in first.legs], "step": 499, "used": 499.0, "seconds": 490.0}
    second = Budget.resumed(asked, meta)
    assert second.end == first.end
    assert [second.schedule(step) for step in range(3600)] == [first.schedule(step) for step in range(3600)]
    more = Budget.resumed(recipe(hours=2.0), meta)
    assert more.end is None
    assert more.done(499) == pytest.approx(499 / 7200)
    assert spent(more, lambda step: 1.0, 499, 499.0)[1] == pytest.approx(7200, rel=0.03)
    over = Budget.resumed(recipe(hours=0.1), meta)
    assert over.end == 499
    steps = Budget.resumed(recipe(steps=9), meta)
    assert steps.end == 9


@pytest.fixture
def steady(monkeypatch):
    """A machine on which a step takes 1.2 s, and all else nothing."""
    now, step = [0.0], Trainer._train_step

    def slow(self, wave, *others):
        now[0] += 1.2
        return step(self, wave, *others)

    monkeypatch.setattr(Trainer, "_train_step", slow)
    monkeypatch.setattr(Trainer, "clock", staticmethod(lambda: now[0]))


def test_a_run_with_hours_ends_well_and_resumes_exactly(tiny_recipe, tmp_path, steady):
    """What was chosen is kept with the checkpoint, and done by the run that was stopped in between."""
    options = {"hours": 120 / 3600, "validate_every": 1000, "save_every": 1000, "steps": 5}
    whole, halves = (tiny_recipe(out=str(tmp_path / name), **options) for name in ("whole", "halves"))
    one = Trainer(whole)
    one.run()
    assert one.step == one.budget.end
    assert one.used == pytest.approx(120, rel=0.03)
    assert one.history[-1]["step"] == one.step, "it has been validated at its end"
    Trainer(halves).run(until=70)
    _, meta = load_checkpoint(halves.folder / "last.safetensors")
    assert (meta["step"], meta["used"]) == (70, pytest.approx(84))
    assert Leg(*meta["plan"][-1]).end == one.budget.end
    two = Trainer(halves)
    two.run()
    assert two.step == one.step
    first, second = (load_checkpoint(recipe.folder / "last.safetensors")[0] for recipe in (whole, halves))
    assert [k for k in first if not torch.equal(first[k], second[k])] == []


def test_the_log_says_how_long_and_how_many(tiny_recipe, tmp_path, steady, capsys, monkeypatch):
    monkeypatch.setattr("mixcodec.train.log.RunLog.clock", staticmethod(Trainer.clock))
    Trainer(tiny_recipe(out=str(tmp_path / "a"), steps=200, validate_every=1000, precision="32-true")).run(until=60)
    said = capsys.readouterr().err.splitlines()
    assert "1.2 s a step in 32-true: the 200 steps take about 4 min" in said
    lines = [line for line in said if line.startswith("step ")]
    assert lines[1].startswith("step 34 of 200: 1.2 s a step, 3 min left; loss ")
    assert len(lines) == 3
    Trainer(tiny_recipe(out=str(tmp_path / "b"), hours=0.1, precision="32-true", validate_every=1000)).run(until=60)
    said = capsys.readouterr().err
    assert "1.2 s a step in 32-true\n" in said
    assert said.count("299 steps fit into 0.1 h") == 1


def test_hours_make_sense(tiny_recipe):
    for hours in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="hours is"):
            dataclasses.replace(tiny_recipe(), hours=hours)
