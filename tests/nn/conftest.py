import pytest
import torch

CODEC = {
    "sample_rate": 16000,
    "latent": 16,
    "transform": {"kind": "stft", "hop": 64},
    "encoder": {
        "width": 16,
        "stages": [{"depth": 1, "mixer": "convolution", "channel": "mlp"}, {"mixer": "attention", "channel": "gated"}],
    },
    "quantizer": {"kind": "residual", "codebooks": 4, "codebook": {"size": 32, "dim": 4}},
    "decoder": {
        "width": 16,
        "stages": [{"mixer": {"kind": "pooling", "size": 3}, "channel": "mlp"}, {"mixer": "attention", "channel": "mlp"}],
    },
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def codec_config():
    return CODEC
