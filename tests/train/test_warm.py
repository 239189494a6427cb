"""A run that begins with the weights of another codec."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet
from mixcodec.train.warm import adopted

CODEC = {
    "sample_rate": 16000,
    "latent": 8,
    "transform": {"kind": "stft", "hop": 160, "power": 1.0},
    "encoder": {"width": 16, "stages": [{"mixer": "convolution", "channel": "mlp"}]},
    "quantizer": {"kind": "residual", "codebooks": 3, "codebook": {"kind": "vq", "size": 16, "dim": 4}},
    "decoder": {"width": 16, "stages": [{"mixer": "convolution", "channel": "mlp"}]},
}


def codec(seed: int, **changes: object) -> CodecNet:
    torch.manual_seed(seed)
    net = CodecNet(CODEC | changes).eval()
    with torch.no_grad():  # untrained codebooks would hardly be told apart
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def tone(rate: int, seconds: float = 0.5) -> torch.Tensor:
    """Partials below 6 kHz, faded in and out, (1, N)."""
    t = np.arange(round(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * f * t + f) / (1 + i) for i, f in enumerate((220.0, 910.0, 2500.0, 5900.0)))
    return torch.from_numpy(0.2 * wave * np.hanning(len(t))).float()[None]


@pytest.mark.parametrize(("rate", "hop"), [(24000, 240), (32000, 320), (8000, 80)])
def test_at_another_rate_low_frequencies_are_coded_as_before(rate: int, hop: int) -> None:
    """The oracle is the first codec itself, on the same sound at its own rate."""
    old, new = codec(0), codec(1, sample_rate=rate, transform={"kind": "stft", "hop": hop, "power": 1.0})
    before = copy.deepcopy(new)
    found, fitted = adopted(new, old.state_dict(), CODEC)
    new.load_state_dict(found)
    assert fitted
    sound = (lambda r: tone(r)) if rate > 16000 else lambda r: tone_below(r, 3000.0)
    wanted, got, fresh = (net.latents(sound(net.sample_rate)) for net in (old, new, before))
    error = float((got - wanted).detach().std() / wanted.detach().std())
    assert error < 0.02, error
    assert float((fresh - wanted).detach().std() / wanted.detach().std()) > 0.5
    low = torch.fft.rfft(new.transform.frames_to_wave(new.decoder(wanted)).detach()[0]).abs()
    same = torch.fft.rfft(old.transform.frames_to_wave(old.decoder(wanted)).detach()[0]).abs()
    bins = round(0.5 * min(rate, 16000) * 0.45)
    assert float((low[:bins] * 16000 / rate - same[:bins]).norm() / same[:bins].norm()) < 0.05


def tone_below(rate: int, highest: float) -> torch.Tensor:
    t = np.arange(rate // 2) / rate
    wave = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 910.0, highest))
    return torch.from_numpy(0.1 * wave * np.hanning(len(t))).float()[None]


def test_a_residual_becomes_a_taught_one_with_the_same_codes() -> None:
    old = codec(0)
    taught = {
        "kind": "semantic_split",
        "parallel": False,
        "teacher": 5,
        **{k: CODEC["quantizer"][k] for k in ("codebooks", "codebook")},
    }
    new = codec(1, quantizer=taught)
    found, fitted = adopted(new, old.state_dict(), CODEC)
    new.load_state_dict(found)
    wave = tone(16000)
    assert fitted
    assert torch.equal(new.encode(wave, new.encoder_state(1))[0], old.encode(wave, old.encoder_state(1))[0])
    back, fitted = adopted(codec(2, quantizer=taught), new.state_dict(), CODEC | {"quantizer": taught})
    assert fitted
    assert set(back) == set(new.state_dict())
    thrifty = codec(3, quantizer=taught | {"thrift": 0.1})
    thrifty.load_state_dict(adopted(thrifty, new.state_dict(), CODEC | {"quantizer": taught})[0])
    assert not thrifty.quantizer.costs[0].rows.any()
    new.load_state_dict(adopted(new, thrifty.state_dict(), thrifty.config)[0])


@pytest.mark.parametrize("quantizer", [{"kind": "fsq", "levels": [4, 4]}, "fsq"])
def test_another_quantizer_is_left_to_be_fitted(quantizer: dict[str, object] | str) -> None:
    old, new = codec(0), codec(1, quantizer=quantizer)
    fresh = copy.deepcopy(new.quantizer.state_dict())
    found, fitted = adopted(new, old.state_dict(), CODEC)
    new.load_state_dict(found)
    assert not fitted
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in new.quantizer.state_dict().items())
    assert torch.equal(new.latents(tone(16000)), old.latents(tone(16000)))


@pytest.mark.parametrize("transform", [{"kind": "stft", "hop": 300, "power": 1.0}, {"kind": "stft", "hop": 240, "power": 0.5}])
def test_says_between_which_transforms_there_is_no_way(transform: dict[str, object]) -> None:
    new = codec(1, sample_rate=24000, transform=transform)
    with pytest.raises(ConfigError, match="equal power and duration of a frame"):
        adopted(new, codec(0).state_dict(), CODEC)


def test_a_run_begins_with_another_quantizer(tiny_recipe, tmp_path: Path) -> None:
    from mixcodec.train import Trainer

    first = Trainer(tiny_recipe(out=str(tmp_path / "first"), steps=4))
    first.run()
    codec = first.recipe.codec | {"quantizer": {"kind": "fsq", "levels": [4, 4]}}
    second = Trainer(tiny_recipe(out=str(tmp_path / "second"), codec=codec, codebooks_from=0, steps=2), first.checkpoint)
    assert not second.fitted
    assert torch.equal(second.ema.encoder.enter.weight, first.ema.encoder.enter.weight)
    second.run()
    assert second.fitted


def test_discriminators_of_another_kind_begin_anew(tiny_recipe, tmp_path: Path, caplog) -> None:
    from mixcodec.train import Trainer

    first = Trainer(tiny_recipe(out=str(tmp_path / "first"), steps=1))
    first.run()
    adversary = {"discriminator": {"kind": "multi_period", "periods": [2, 3], "width": 4}}
    for name, changes in (("same", {}), ("other", {"adversary": adversary})):
        second = Trainer(tiny_recipe(out=str(tmp_path / name), steps=1, codebooks_from=0, **changes), first.checkpoint)
        assert torch.equal(second.net.encoder.enter.weight, first.net.encoder.enter.weight)
        assert ("begin anew" in caplog.text) == bool(changes)
        theirs, ours = first.adversary.state_dict(), second.adversary.state_dict()
        assert (theirs.keys() == ours.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)) == (not changes)
