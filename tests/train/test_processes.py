"""Training in several processes: what two do together is what one does alone. They are started as a user starts them."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mixcodec.train import Trainer, load_checkpoint

STEPS = 30
UNTIL = "import sys; from mixcodec.train import Trainer, load_recipe; Trainer(load_recipe(sys.argv[1])).run(int(sys.argv[2]))"


@pytest.fixture(scope="module")
def shared_recipe(tiny_recipe, tmp_path_factory):
    """A function of processes and segments of each -> a recipe of STEPS steps with all that draws: augmentation, dropout of
    codebooks, their start and restarts, offsets, the crops of discriminators."""

    def make(devices, batch_size, **changes):
        folder = tmp_path_factory.mktemp("run")
        options = {"steps": STEPS, "precision": "32-true", "log_every": 1, "validate_every": STEPS, "save_every": STEPS}
        loss = {"windows": [128, 256], "bands": [10, 20], "envelope": 1.0, "loudness": 0.5}
        recipe = tiny_recipe(out=str(folder), devices=devices, **options, loss=loss, **changes)
        data = {"batch_size": batch_size, "segment_seconds": 0.6, "p_noise": 0.5, "p_room": 0.5}
        return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **data))

    return make


@pytest.fixture(scope="module")
def two(shared_recipe):
    recipe = shared_recipe(2, 2)
    trained_apart(recipe, STEPS)
    return recipe


def trained_apart(recipe, until):
    """Trains in processes of gloo, which a script starts as often as the recipe has devices."""
    folder = recipe.folder
    (folder / "recipe.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(recipe.as_dict()))))
    (folder / "train.py").write_text(UNTIL)
    command = [sys.executable, folder / "train.py", folder / "recipe.yaml", str(until)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def curves(recipe):
    """Name -> what was logged of it, a number a step."""
    events = EventAccumulator(str(recipe.folder))
    events.Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"] if tag.startswith("train/")}


def apart(one, other):
    """The relative difference of two curves of losses: of the middle step, and of the worst."""
    one, other = torch.tensor(one["train/loss"]), torch.tensor(other["train/loss"])
    assert len(one) == len(other) == STEPS
    away = (one - other).abs() / one
    return float(away.median()), float(away.max())


def test_two_processes_learn_as_one_with_twice_the_batch(two, shared_recipe):
    """Rounding alone sets them apart: 1e-6 of the loss where it was measured, 1e-3 in a step in which it decides between two
    entries of a codebook. Another seed changes a tenth of the loss."""
    one, other = shared_recipe(1, 4), shared_recipe(1, 4, seed=1)
    for recipe in (one, other):
        Trainer(recipe).run()
    wanted = curves(one)
    middle, worst = apart(wanted, curves(two))
    assert middle < 1e-4
    assert worst < 5e-3
    assert min(apart(wanted, curves(other))) > 1e-2
    tensors = [load_checkpoint(recipe.folder / "last.safetensors")[0] for recipe in (one, two)]
    entries = [t["net.quantizer.levels.0.entries"] for t in tensors]
    assert torch.allclose(*entries, atol=1e-2), "they stand for what both have seen"


def test_several_processes_resume_where_they_stopped(two, shared_recipe):
    halves = shared_recipe(2, 2)
    trained_apart(halves, 15)
    assert load_checkpoint(halves.folder / "last.safetensors")[1]["step"] == 15
    trained_apart(halves, STEPS)
    whole, resumed = (load_checkpoint(recipe.folder / "last.safetensors")[0] for recipe in (two, halves))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


@pytest.mark.slow
def test_several_processes_agree_on_precision_and_on_the_end_of_a_budget(shared_recipe):
    """The first one times and decides; that the others do as it does is that they end at all, and at one step."""
    recipe = dataclasses.replace(shared_recipe(2, 2), hours=4 / 3600, precision="auto", validate_every=5, save_every=5)
    trained_apart(recipe, 100_000)
    _, meta = load_checkpoint(recipe.folder / "last.safetensors")
    assert meta["step"] == meta["plan"][-1][2]
    assert meta["precision"] in ("32-true", "bf16-mixed")
    assert meta["history"][-1]["step"] == meta["step"]
