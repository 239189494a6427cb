"""A run that goes on with another recipe than it began with: taken and said, or refused in one line."""

import json

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.train import Trainer, load_checkpoint
from mixcodec.train.changed import finished, resumed
from mixcodec.train.export import export_checkpoint


@pytest.fixture
def begun(tiny_recipe, tmp_path):
    """A function of changes -> the recipe of a run in `tmp_path` that has stopped after 5 of 8 steps, with them."""
    Trainer(tiny_recipe(out=str(tmp_path))).run(until=5)
    return lambda **changes: tiny_recipe(**({"out": str(tmp_path)} | changes))


def with_data(recipe, **changes):
    values = recipe().as_dict()["data"] | changes
    return recipe(data=values)


def test_the_same_recipe_has_nothing_to_say(begun):
    notes = Trainer(begun()).notes
    assert [note for note in notes if note.startswith(("goes on", "taken"))] == ["goes on from step 5"]


def test_what_says_how_it_is_carried_out_is_taken_and_said(begun):
    trainer = Trainer(begun(steps=12, log_every=1, save_every=2, threads=2))
    (note,) = [note for note in trainer.notes if note.startswith("taken: ")]
    assert note == (
        "taken: steps (8 before, now 12), threads (1 before, now 2), log_every (4 before, now 1), save_every (4 before, now 2)"
    )
    assert trainer.changes == []
    trainer.run()
    assert trainer.step == 12


def test_what_says_how_it_learns_is_taken_and_kept(begun, tmp_path):
    loss = {"windows": [128, 256], "bands": [10, 20], "mel": 3.0}
    trainer = Trainer(begun(lr=1e-4, loss=loss))
    (note,) = [note for note in trainer.notes if note.startswith("taken from step 5 on: ")]
    assert "loss.mel (1.0 before, now 3.0), lr (0.001 before, now 0.0001)" in note
    trainer.run()
    changes = [{"step": 5, "fields": {"loss.mel": [1.0, 3.0], "lr": [0.001, 0.0001]}}]
    assert load_checkpoint(trainer.checkpoint)[1]["changes"] == changes
    again = Trainer(begun(lr=1e-4, loss=loss, steps=9))
    assert again.changes == changes
    export_checkpoint(trainer.checkpoint, tmp_path / "model", tables=False)
    assert "Changed at step 5: loss.mel 1.0 to 3.0, lr 0.001 to 0.0001." in (tmp_path / "model" / "card.md").read_text()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["changes"] == changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"codec": {"latent": 9}}, "codec.latent (8 before, now 9)"),
        ({"codec": {"decoder": {"width": 16, "stages": []}}}, "codec.decoder.stages"),
        ({"codec": {"quantizer": {"kind": "vq", "size": 16}}}, "codec.quantizer.kind ('residual' before, now 'vq')"),
        ({"data": {"validation": ("s1",)}}, "data.validation (['s2'] before, now ['s1'])"),
        ({"data": {"speaker_regex": "(x)"}}, "data.speaker_regex"),
        ({"seed": 7}, "seed (0 before, now 7)"),
        ({"adversary": {"discriminator": {"kind": "multi_resolution", "windows": [256]}}}, "adversary.discriminator.windows"),
        ({"loss": {"windows": [128, 256], "bands": [10, 20], "balanced": True}}, "loss.balanced (False before, now True)"),
        ({"initial": "speech-16k"}, "initial ('' before, now 'speech-16k')"),
    ],
    ids=str,
)
def test_what_the_weights_are_of_is_refused_in_one_line_before_anything_is_loaded(begun, monkeypatch, change, said):
    values = json.loads(json.dumps(begun().as_dict()))
    for name, value in change.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    monkeypatch.setattr("mixcodec.train.loop.open_data", lambda config: pytest.fail("the data is opened"))
    with pytest.raises(ConfigError) as error:
        Trainer(begun(**values))
    told = str(error.value)
    assert said in told
    assert "\n" not in told
    assert f"{begun().folder} holds a run already" in told
    assert "choose another out=" in told
    assert f"--initial {begun().folder / 'last.safetensors'}" in told


def test_many_fields_are_counted(begun):
    codec = json.loads(json.dumps(begun().codec))
    codec |= {"latent": 9, "encoder": {"width": 32, "stages": []}, "decoder": {"width": 24, "stages": ["x", "y"]}}
    codec["transform"] = {"kind": "stft", "hop": 320, "power": 0.5}
    with pytest.raises(ConfigError, match=r"and [2-9] more; a run keeps"):
        Trainer(begun(codec=codec))


def test_a_folder_that_has_moved_is_the_same_data(begun, tmp_path):
    """Where the manifest is the same, only the name of its root is another."""
    import shutil

    shutil.copytree(begun().data.root, tmp_path / "moved")
    trainer = Trainer(with_data(begun, root=str(tmp_path / "moved")))
    assert any(note.startswith("taken: data.root (") for note in trainer.notes)


def test_other_audio_is_refused(begun, tmp_path):
    import shutil

    shutil.copytree(begun().data.root, tmp_path / "other")
    (tmp_path / "other/s0/0.wav").unlink()
    with pytest.raises(ConfigError, match=r"holds a run already, with another data\.root .* other audio; .*choose another out="):
        Trainer(with_data(begun, root=str(tmp_path / "other")))


def test_audio_that_was_added_to_the_folder_is_said(tiny_recipe, tmp_path, caplog):
    import shutil

    root = tmp_path / "sound"
    shutil.copytree(tiny_recipe().data.root, root)
    recipe = with_data(lambda **changes: tiny_recipe(**({"out": str(tmp_path / "run")} | changes)), root=str(root))
    Trainer(recipe).run(until=4)
    shutil.copy(root / "s0/0.wav", root / "s0/new.wav")
    assert Trainer(recipe).step == 4
    assert "the data is not what this run began with" in caplog.text


def test_a_finished_run_says_so_and_how_to_go_on(begun):
    assert finished(begun()) is None
    Trainer(begun()).run()
    folder = begun().folder
    told = finished(begun())
    assert told == (
        f"the run in {folder} is finished: it has 8 steps, and steps=8 asks for no more. "
        "To go on give more, such as steps=16; to begin anew, another out="
    )
    told = finished(begun(steps=4, lr=1.0, log_every=7))
    assert "it has 8 steps, and steps=4 asks for no more" in told
    assert "; ignored, for nothing is left to do: log_every (4 before, now 7), lr (0.001 before, now 1.0)." in told
    assert finished(begun(steps=9)) is None
    with pytest.raises(ConfigError, match=r"another codec\.latent"):
        finished(begun(codec=begun().codec | {"latent": 9}))


def test_a_run_that_has_had_its_hours_says_so(tiny_recipe, tmp_path):
    recipe = tiny_recipe(out=str(tmp_path), hours=1e-6)
    Trainer(recipe).run()
    told = finished(recipe)
    assert "it has 1 steps, and hours=1e-06 asks for no more" in told
    assert "such as hours=2e-06" in told
    assert finished(tiny_recipe(out=str(tmp_path), hours=1.0)) is None
    assert finished(tiny_recipe(out=str(tmp_path), steps=3)) is None


def test_initial_weights_are_the_same_by_any_path(tiny_recipe, tmp_path, monkeypatch):
    first = Trainer(tiny_recipe(out=str(tmp_path / "a")))
    first.run(until=4)
    options = {"out": str(tmp_path / "b"), "initial": str(first.checkpoint)}
    Trainer(tiny_recipe(**options)).run(until=2)
    monkeypatch.chdir(tmp_path)
    for initial in (str(first.checkpoint), "a/last.safetensors", ""):
        assert Trainer(tiny_recipe(**options | {"initial": initial})).step == 2
    with pytest.raises(ConfigError, match="another initial"):
        Trainer(tiny_recipe(**options | {"initial": "b/last.safetensors"}))


def test_fields_of_a_later_version_are_no_change(begun):
    meta = load_checkpoint(begun().folder / "last.safetensors")[1]
    del meta["recipe"]["ema"], meta["recipe"]["data"]["p_room"]
    assert resumed(begun(ema=0.5), meta).learns == ()


def test_the_optimizer_learns_at_the_new_rate(begun):
    trainer = Trainer(begun(lr=0.0123))
    trainer._train_step(torch.from_numpy(trainer.data.train_segments().batch(0)))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0123 * trainer.budget.schedule(5))
