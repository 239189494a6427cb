import numpy as np
import pytest
import soundfile as sf

from mixcodec.train.recipe import recipe_from_dict

TINY = {
    "name": "tiny",
    "codec": {
        "sample_rate": 16000,
        "latent": 8,
        "transform": {"kind": "stft", "hop": 160},
        "encoder": {
            "width": 16,
            "stages": [{"mixer": "convolution", "channel": "mlp"}, {"mixer": "attention", "channel": "mlp"}],
        },
        "quantizer": {"kind": "residual", "codebooks": 4, "codebook": {"size": 16, "dim": 4, "restart_every": 2}},
        "decoder": {"width": 16, "stages": [{"mixer": "convolution", "channel": "gated"}]},
    },
    "loss": {"windows": [128, 256], "bands": [10, 20]},
    "adversary": {
        "begin": 4,
        "discriminator": {"kind": "multi_resolution", "windows": [128], "bands": 4, "width": 8, "depth": 2},
        "crop_seconds": 0.2,
    },
    "warmup": 2,
    "steps": 8,
    "codebooks_from": 2,
    "start_frames": 200,
    "log_every": 4,
    "validate_every": 4,
    "judges": [],
    "save_every": 4,
    "accelerator": "cpu",
    "precision": "bf16-mixed",
}


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """A function of changed fields -> a recipe on a small corpus of chirps by three "speakers"."""
    root = tmp_path_factory.mktemp("corpus")
    t = np.arange(24000) / 16000
    for speaker in range(3):
        for take in range(3):
            f = 150 + 60 * speaker + 20 * take
            wave = (
                sum(np.sin(2 * np.pi * f * k * t * (1 + 0.1 * t)) / k for k in range(1, 12)) * (0.3 + 0.2 * np.sin(9 * t)) * 0.2
            )
            (root / f"s{speaker}").mkdir(exist_ok=True)
            sf.write(root / f"s{speaker}" / f"{take}.wav", wave, 16000)
    cache = tmp_path_factory.mktemp("cache")
    data = {
        "root": str(root),
        "cache_dir": str(cache),
        "segment_seconds": 0.4,
        "batch_size": 4,
        "processes": 1,
        "validation": ["s2"],
        "validation_batches": 1,
    }
    return lambda **changes: recipe_from_dict(TINY | {"data": data} | changes)
