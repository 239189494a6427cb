import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mixcodec.data import DataConfig, open_data
from mixcodec.errors import DataError


@pytest.fixture
def config(corpus: Path, tmp_path: Path) -> DataConfig:
    return DataConfig(
        root=str(corpus), split="train", kind="speech", segment_seconds=0.5, cache_dir=str(tmp_path), validation=("game/bob",)
    )


def test_open_data_splits_and_draws(config: DataConfig) -> None:
    data = open_data(config)
    assert {c.unit for c in data.valid.clips} == {"game/bob"}
    assert {c.unit for c in data.train.clips} == {"game/ann", "words/cy", "words/di"}
    assert data.train_segments().batch(3).shape == (8, 8000)
    assert len(data.manifest_hash) == 64
    again = open_data(config)
    assert np.array_equal(again.train_segments().batch(3), data.train_segments().batch(3))


def test_validation_does_not_depend_on_the_seed(config: DataConfig) -> None:
    a, b = (open_data(dataclasses.replace(config, seed=s)) for s in (1, 2))
    assert np.array_equal(a.valid_segments().batch(0), b.valid_segments().batch(0))
    assert not np.array_equal(a.train_segments().batch(0), b.train_segments().batch(0))


def test_no_validation_is_an_error_only_when_asked_for(config: DataConfig) -> None:
    data = open_data(dataclasses.replace(config, validation=()))
    data.train_segments().batch(0)
    with pytest.raises(DataError, match="held out"):
        data.valid_segments()


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 0},
        {"segment_seconds": -1.0},
        {"batch_size": 0},
        {"seed": -1},
        {"balance": -0.5},
        {"source_from": "uncle"},
        {"validation": ("a",), "validation_fraction": 0.1},
        {"validation_fraction": 1.0},
        {"manifest": "scan", "split": "train"},
        {"p_noise": 2.0},
        {"level_low": -10.0, "level_high": -20.0},
    ],
    ids=str,
)
def test_combinations_that_cannot_be_are_data_errors(options: dict) -> None:
    with pytest.raises(DataError):
        DataConfig(**options)
