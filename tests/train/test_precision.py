"""Which precision a run computes in. Times are given, but in one test, which asserts none."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch

from mixcodec.train import Trainer, load_checkpoint, save_checkpoint
from mixcodec.train import loop as loop
from mixcodec.train import precision as module
from mixcodec.train.export import export_checkpoint
from mixcodec.train.precision import Precision, Timing, decide, device_type, settled


def timer(float32, bf16):
    """A timer that gives these times, and says how often it was asked."""

    def time(device, threads):
        time.asked.append((device, threads))
        return Timing(float32, bf16)

    time.asked = []
    return time


FAST, SLOW, EVEN = (2.0, 1.0), (1.5, 13.5), (1.0, 0.99)


@pytest.mark.parametrize(("times", "name"), [(FAST, "bf16-mixed"), (SLOW, "32-true"), (EVEN, "32-true")])
def test_auto_takes_what_is_faster(tiny_recipe, times, name):
    clock = timer(*times)
    found = decide(tiny_recipe(precision="auto", threads=3), timer=clock)
    assert (found.name, found.slow) == (name, False)
    assert name in found.why
    assert f"{1000 * times[1]:.0f} ms in bf16" in found.why
    assert clock.asked == [("cpu", 3)]


@pytest.mark.parametrize("kept", ["bf16-mixed", "32-true", "16-mixed"])
def test_auto_keeps_what_the_run_began_in(tiny_recipe, kept):
    for times in (FAST, SLOW):
        assert decide(tiny_recipe(precision="auto"), kept, timer(*times)).name == kept


def test_what_is_asked_for_is_done_and_said_to_be_slow(tiny_recipe):
    recipe = tiny_recipe(precision="bf16-mixed")
    for kept in (None, "32-true"):
        found = decide(recipe, kept, timer(*SLOW))
        assert (found.name, found.slow) == ("bf16-mixed", True)
        assert "precision=32-true would make a step about 9.0 times as fast" in found.why
        assert "\n" not in found.why
    assert not decide(recipe, timer=timer(*FAST)).slow
    assert decide(tiny_recipe(precision="auto"), "bf16-mixed", timer(*SLOW)).slow
    clock = timer(*FAST)
    assert decide(tiny_recipe(precision="32-true"), timer=clock) == Precision("32-true", "precision 32-true: as asked for")
    assert clock.asked == [], "there is nothing to find out"


def test_auto_is_the_default():
    from mixcodec.train.recipe import Recipe

    assert {field.name: field.default for field in dataclasses.fields(Recipe)}["precision"] == "auto"


def test_further_processes_do_what_the_first_has_found(tiny_recipe, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv(module.SHARED, "left over from another run")
    recipe = tiny_recipe(precision="auto", devices=2)
    assert decide(recipe, timer=timer(*SLOW)).name == "32-true"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert decide(recipe, timer=timer(*FAST)).name == "32-true"
    monkeypatch.setenv("LOCAL_RANK", "0")  # as it is set in the first one, once it has started the others
    assert decide(recipe, timer=timer(*FAST)).name == "bf16-mixed"


def test_runs_that_are_compared_are_settled_once(tiny_recipe):
    assert settled(tiny_recipe(precision="auto"), timer(*SLOW)).precision == "32-true"
    assert settled(tiny_recipe(precision="16-mixed"), timer(*SLOW)).precision == "16-mixed"


def test_the_device_is_that_of_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device_type(name) for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_type("auto") == device_type("cpu") == "cpu"


def test_a_run_keeps_its_precision_and_resumes_exactly(tiny_recipe, tmp_path, monkeypatch):
    """`auto` found float32 when the run began; where bf16 would win when it goes on, that changes nothing."""

    def now(*times):
        monkeypatch.setattr(loop, "decide", lambda recipe, kept=None: decide(recipe, kept, timer(*times)))

    now(*SLOW)
    whole, halves = (tiny_recipe(out=str(tmp_path / name), precision="auto") for name in ("whole", "halves"))
    Trainer(whole).run()
    Trainer(halves).run(until=5)
    now(*FAST)
    second = Trainer(halves)
    assert second.precision.name == "32-true"
    second.run()
    one, two = (load_checkpoint(recipe.folder / "last.safetensors") for recipe in (whole, halves))
    assert [k for k in one[0] if not torch.equal(one[0][k], two[0][k])] == []
    assert one[1]["precision"] == two[1]["precision"] == "32-true"
    assert Trainer(tiny_recipe(out=str(tmp_path / "other"), precision="auto")).precision.name == "bf16-mixed"
    export_checkpoint(second.checkpoint, tmp_path / "model", tables=False)
    assert "precision: 32-true" in (tmp_path / "model" / "card.md").read_text()


def test_a_checkpoint_of_before_keeps_what_its_recipe_says(tiny_recipe, tmp_path, monkeypatch):
    trainer = Trainer(tiny_recipe(out=str(tmp_path)))
    trainer.run(until=4)
    tensors, meta = load_checkpoint(trainer.checkpoint)
    for new in ("precision", "plan", "used", "changes"):
        del meta[new]
    for new in ("initial", "hours"):
        del meta["recipe"][new]
    save_checkpoint(trainer.checkpoint, tensors, meta)
    monkeypatch.setattr(loop, "decide", lambda recipe, kept=None: decide(recipe, kept, timer(*SLOW)))
    again = Trainer(tiny_recipe(out=str(tmp_path), precision="auto"))
    assert again.precision.name == "bf16-mixed"
    assert again.notes[1:2] == ["goes on from step 4"], "nothing has been changed"


def test_the_block_is_really_trained_in_both():
    """In a process of its own, on the instructions of most laptops; how long it takes is not asserted."""
    code = (
        "import torch\n"
        "from mixcodec.train.precision import measured, ROUNDS\n"
        "state = torch.get_rng_state()\n"
        "found = measured('cpu', 1)\n"
        "assert found.float32 > 0 and found.bf16 > 0 and found is measured('cpu', 1)\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
    )
    environ = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
