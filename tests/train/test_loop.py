import copy
import itertools
import json
import math
import shutil

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mixcodec.errors import ConfigError, FileError
from mixcodec.nn.codec import CodecNet
from mixcodec.train import Trainer, load_checkpoint, save_checkpoint
from mixcodec.train.export import export_checkpoint
from mixcodec.train.loop import schedule


def weights(trainer):
    tensors, _ = load_checkpoint(trainer.checkpoint)
    return tensors


def test_a_run_stopped_and_resumed_ends_with_the_same_weights(tiny_recipe, tmp_path):
    whole = Trainer(tiny_recipe(out=str(tmp_path / "whole")))
    whole.run()
    recipe = tiny_recipe(out=str(tmp_path / "halves"))
    Trainer(recipe).run(until=5)
    second = Trainer(recipe)
    assert second.step == 5
    torch.manual_seed(99)  # what another program does between them must not matter
    second = Trainer(recipe)
    second.run()
    one, two = weights(whole), weights(second)
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


def test_training_lowers_the_loss_and_moves_all_weights(tiny_recipe, tmp_path):
    recipe = tiny_recipe(out=str(tmp_path), steps=60, precision="32-true", validate_every=30, adversary={"begin": 10**9}, lr=3e-3)
    trainer = Trainer(recipe)
    before = {k: v.clone() for k, v in trainer.net.module.state_dict().items()}
    trainer.run()
    scores = [entry["score"] for entry in trainer.history]
    assert scores[-1] < scores[0]
    assert [k for k, v in trainer.net.module.named_parameters() if torch.equal(v, before[k])] == []


def test_checkpoints_hold_what_is_promised(tiny_recipe, tmp_path):
    trainer = Trainer(tiny_recipe(out=str(tmp_path)))
    trainer.run()
    tensors, meta = load_checkpoint(tmp_path / "last.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"net", "ema", "adversary", "optimizer", "rival"}
    assert meta["step"] == 8
    assert len(meta["manifest"]) == 64
    assert meta["recipe"]["name"] == "tiny"
    assert (tmp_path / "best.safetensors").exists()
    assert not list(tmp_path.glob("*.part"))
    assert list(tmp_path.glob("events*"))


def test_a_new_run_can_begin_with_the_weights_of_another(tiny_recipe, tmp_path):
    first = Trainer(tiny_recipe(out=str(tmp_path / "a")))
    first.run(until=4)
    second = Trainer(tiny_recipe(out=str(tmp_path / "b"), seed=5), first.checkpoint)
    assert second.step == 0
    assert torch.equal(second.net.encoder.enter.weight, first.net.encoder.enter.weight)


def test_export_writes_the_averaged_weights(tiny_recipe, tmp_path):
    trainer = Trainer(tiny_recipe(out=str(tmp_path)))
    trainer.run()
    name = export_checkpoint(trainer.checkpoint, tmp_path / "model", "STOI .9", "Made of chirps.")
    assert name == "tiny"
    card = (tmp_path / "model" / "card.md").read_text()
    assert "STOI .9" in card
    assert "Made of chirps." in card
    assert str(trainer.data.manifest.root) not in card
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.allclose(stored["encoder.enter.weight"].float(), trainer.ema.encoder.enter.weight, atol=1e-3)
    net = CodecNet(trainer.recipe.codec)
    net.load_state_dict(stored)
    assert (tmp_path / "model" / "adversary.safetensors").exists()


def test_the_schedule_rises_then_falls_to_its_floor(tiny_recipe):
    recipe = tiny_recipe(warmup=10, steps=110, lr_floor=0.1)
    rates = [schedule(step, recipe) for step in range(111)]
    assert rates[9] == max(rates) == 1
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_checkpoint_is_whole_or_absent(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", {"x": torch.ones(3)}, {"step": 1, "best": math.inf})
    tensors, meta = load_checkpoint(tmp_path / "c.safetensors")
    assert tensors["x"].tolist() == [1, 1, 1]
    assert meta == {"step": 1, "best": math.inf}
    data = (tmp_path / "c.safetensors").read_bytes()
    for broken in (b"", data[:-1], b"not a checkpoint"):
        (tmp_path / "d.safetensors").write_bytes(broken)
        with pytest.raises(ConfigError, match=r"d\.safetensors"):
            load_checkpoint(tmp_path / "d.safetensors")
    with pytest.raises(ConfigError, match=r"none\.safetensors"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_training_goes_on_from_an_exported_folder(tiny_recipe, tmp_path):
    first = Trainer(tiny_recipe(out=str(tmp_path / "a")))
    first.run()
    export_checkpoint(first.checkpoint, tmp_path / "model")
    second = Trainer(tiny_recipe(out=str(tmp_path / "b")), tmp_path / "model")
    assert torch.allclose(second.net.encoder.enter.weight, first.ema.encoder.enter.weight, atol=1e-3)
    entries = second.net.module.quantizer.levels[0].entries.clone()
    second.run(until=1)
    assert torch.allclose(second.net.module.quantizer.levels[0].entries, entries, atol=0.3), "the codebooks are kept"
    assert second.fitted
    with pytest.raises(ConfigError, match="holds a run already"):
        Trainer(tiny_recipe(out=str(tmp_path / "a")), tmp_path / "model")


def test_weights_of_another_codec_are_refused(tiny_recipe, tmp_path):
    Trainer(tiny_recipe(out=str(tmp_path))).run(until=4)
    codec = json.loads(json.dumps(tiny_recipe().codec)) | {"latent": 9}
    with pytest.raises(ConfigError, match="another codec"):
        Trainer(tiny_recipe(out=str(tmp_path), codec=codec))


def test_export_replaces_only_a_model_folder(tiny_recipe, tmp_path):
    trainer = Trainer(tiny_recipe(out=str(tmp_path / "run")))
    trainer.run(until=4)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match="not replaced"):
        export_checkpoint(trainer.checkpoint, tmp_path / "papers")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        export_checkpoint(trainer.checkpoint, tmp_path / "file" / "model")
    assert (tmp_path / "papers" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "run" / "config.json").write_text("{}")  # as if the run were a model
    with pytest.raises(FileError, match="is to be replaced, but"):
        export_checkpoint(trainer.checkpoint, tmp_path / "run")
    assert trainer.checkpoint.is_file()


def test_a_folder_that_cannot_be_written_is_an_error(tiny_recipe, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="choose another out"):
        Trainer(tiny_recipe(out=str(tmp_path / "file" / "run"))).run()


def test_a_step_whose_gradients_are_not_finite_is_not_taken(tiny_recipe, tmp_path):
    trainer = Trainer(tiny_recipe(out=str(tmp_path)))
    before = copy.deepcopy(trainer.net.module.state_dict())
    for bad in (math.nan, math.inf, 0.5):
        for parameter in trainer.net.module.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        trainer.net.module.encoder.enter.weight.grad[0, 0] = bad
        norm = trainer._descend(trainer.net, trainer.optimizer)
        now = trainer.net.module.state_dict()
        assert math.isfinite(bad) == bool(norm.isfinite())
        assert all(torch.equal(before[name], now[name]) for name in now) != math.isfinite(bad)


class Waits(TorchDispatchMode):
    """Collects the operations for whose result a program has to wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or name in ("_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique2", "equal"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def test_a_step_does_not_wait_for_a_gpu(tiny_recipe, tmp_path):
    """On a CPU nothing waits, but the operations are the same: only numbers that were drawn on the host are read."""
    codec = json.loads(json.dumps(tiny_recipe().codec))
    codec["quantizer"]["codebook"]["restart_every"] = 1000
    loss = {"windows": [128, 256], "bands": [10, 20], "envelope": 1.0, "loudness": 1.0}
    trainer = Trainer(tiny_recipe(out=str(tmp_path), codec=codec, loss=loss, steps=6))
    trainer.run(until=3)
    wave = torch.from_numpy(trainer.data.train_segments().batch(0)).repeat(1, 2)  # long enough for the envelopes
    for step, drawn in ((3, 2), (4, 3)):  # an offset for each of two windows; then a crop for the discriminators too
        trainer.step = step
        with Waits() as waits:
            values = trainer._train_step(wave)
        assert waits.found == ["_local_scalar_dense"] * drawn
        assert all(isinstance(value, torch.Tensor) for value in values.values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_has_the_losses_of_eager_training(tiny_recipe, tmp_path):
    """Kernels add in another order: 1e-4 of the loss where it was measured. Without codebooks, which make jumps of that."""
    losses = {}
    loss = {"windows": [128], "bands": [10], "envelope": 1.0, "loudness": 1.0}
    options = {"precision": "32-true", "codebooks_from": 100, "loss": loss}
    for compiled in (False, True):
        recipe = tiny_recipe(out=str(tmp_path / str(compiled)), compile=compiled, **options)
        trainer = Trainer(recipe)
        segments = trainer.data.train_segments()
        losses[compiled] = []
        for trainer.step in range(5):
            losses[compiled].append(float(trainer._train_step(torch.from_numpy(segments.batch(trainer.step)))["loss"]))
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    trainer.save(trainer.checkpoint)
    eager = Trainer(tiny_recipe(out=str(tmp_path / "True"), **options))  # goes on with the compiled weights
    assert eager.step == trainer.step
