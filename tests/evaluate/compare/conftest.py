"""A bake-off that takes seconds: a corpus of three voices of harmonics, a codec of a few thousand numbers, a few steps."""

import copy

import numpy as np
import pytest
import soundfile as sf

from mixcodec.evaluate.compare import Clips, Plan
from mixcodec.train.recipe import recipe_from_dict

STAGE = {"depth": 1, "mixer": {"kind": "convolution", "kernel": 3}, "channel": {"kind": "mlp", "expansion": 4}}
STACK = {"width": 16, "stages": [STAGE]}
RECIPE = {
    "name": "tiny",
    "codec": {
        "sample_rate": 16000,
        "latent": 16,
        "transform": {"kind": "stft", "hop": 320},
        "encoder": STACK,
        "quantizer": {"kind": "residual", "codebooks": 2, "codebook": {"kind": "vq", "size": 16, "dim": 4}},
        "decoder": STACK,
    },
    "loss": {"windows": [256], "bands": [20]},
    "dropout": 0,
    "warmup": 2,
    "steps": 6,
    "codebooks_from": 3,
    "start_frames": 64,
    "accelerator": "cpu",
}


@pytest.fixture(scope="session", autouse=True)
def quick_measurements():
    """What a clock says is of no interest here, and a few frames are enough to count codes on."""
    with pytest.MonkeyPatch.context() as patch:
        few = {"SPEED_SECONDS": 0.5, "SPEED_RUNS": 1, "STREAM_FRAMES": 4, "LEAST_FRAMES": 100, "MOST_FRAMES": 200}
        for name, value in few.items():
            patch.setattr(f"mixcodec.evaluate.compare.score.{name}", value)
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """The data part of a recipe: two voices to train on, one held out."""
    root = tmp_path_factory.mktemp("voices")
    t = np.arange(32000) / 16000
    for voice in range(3):
        (root / f"s{voice}").mkdir()
        for take in range(2):
            f = 130 + 45 * voice + 15 * take
            tone = sum(np.sin(2 * np.pi * f * k * t * (1 + 0.05 * np.sin(3 * t))) / k for k in range(1, 16))
            sf.write(root / f"s{voice}" / f"{take}.wav", 0.1 * tone * (0.6 + 0.4 * np.sin(12 * t + voice)), 16000)
    cache = tmp_path_factory.mktemp("cache")
    return {
        "root": str(root),
        "cache_dir": str(cache),
        "segment_seconds": 0.4,
        "batch_size": 2,
        "processes": 1,
        "validation": ["s2"],
    }


@pytest.fixture(scope="session")
def tiny_plan(tiny_data):
    """A function of part, kinds and changed fields of the plan -> a plan."""

    def make(part, *kinds, recipe=None, **changes):
        values = copy.deepcopy(RECIPE) | {"data": tiny_data} | (recipe or {})
        return Plan(part, recipe_from_dict(values), kinds, **({"clips": Clips(2, 1.0)} | changes))

    return make
