"""A new decoder for the codes of a codec that stays as it is."""

import copy

import numpy as np
import pytest
import torch

import mixcodec
from mixcodec.errors import ConfigError, TokensError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.state import inside
from mixcodec.train import Trainer, load_checkpoint
from mixcodec.train.export import export_checkpoint
from mixcodec.train.loop import Unrounded
from mixcodec.train.warm import adopted

from .conftest import TINY

HEAD = {"kind": "harmonic", "width": 8, "stages": [], "frame_below": 3000}
CODEC = TINY["codec"] | {"head": HEAD}


@pytest.fixture(scope="module")
def first(tiny_recipe, tmp_path_factory):
    """A model folder as it was, with a spectrum a frame."""
    folder = tmp_path_factory.mktemp("first")
    trainer = Trainer(tiny_recipe(out=str(folder / "run")))
    trainer.run()
    export_checkpoint(trainer.checkpoint, folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def second(first, tiny_recipe, tmp_path_factory):
    """The checkpoint of a run that learned a decoder alone."""
    pytest.importorskip("parselmouth")
    folder = tmp_path_factory.mktemp("second")
    loss = TINY["loss"] | {"pitch": 1.0}
    recipe = tiny_recipe(out=str(folder), codec=CODEC, learns="decoder", loss=loss, codebooks_from=0, lr=3e-3)
    Trainer(recipe, first).run()
    return folder / "last.safetensors"


def test_only_the_decoder_learns_and_its_head_is_taught_pitch(first, second, tiny_recipe):
    net = inside("net", load_checkpoint(second)[0])
    fresh = Trainer(tiny_recipe(out="unused", codec=CODEC, learns="decoder", codebooks_from=0), first).net.module.state_dict()
    moved = {name.split(".")[0] for name, tensor in net.items() if not torch.equal(tensor, fresh[name])}
    assert moved == {"decoder", "head"}
    assert not torch.equal(net["head.pitch_out.weight"], fresh["head.pitch_out.weight"])


def test_its_codes_are_those_of_the_model_it_began_with(first, second, tmp_path):
    export_checkpoint(second, tmp_path / "model", codes_of=first)
    old, new = mixcodec.load(first), mixcodec.load(tmp_path / "model")
    assert new.fingerprint != old.fingerprint
    assert (tmp_path / "model" / "entropy.bin").read_bytes() == (first / "entropy.bin").read_bytes()
    wave = np.sin(np.arange(8000) * 0.05 * np.linspace(1, 2, 8000)).astype(np.float32) * 0.3
    tokens, same = old.wave_to_tokens(wave, 16000), new.wave_to_tokens(wave, 16000)
    assert np.array_equal(tokens.codes, same.codes)
    sound = new.tokens_to_wave(tokens)  # a file of the first model is one of the second's
    assert np.array_equal(sound, new.tokens_to_wave(same))
    assert not np.allclose(sound, old.tokens_to_wave(tokens), atol=1e-3)
    with pytest.raises(TokensError, match="decode it with that model"):
        old.tokens_to_wave(same)
    mixcodec.write_mxc(tmp_path / "old.mxc", tokens, old)
    mixcodec.write_mxc(tmp_path / "new.mxc", same, new)
    read = mixcodec.read_mxc(tmp_path / "old.mxc", new)
    assert np.array_equal(new.tokens_to_wave(read), sound)


def test_export_asks_for_the_model_whose_codes_they_are(first, second, tiny_recipe, tmp_path):
    with pytest.raises(ConfigError, match="--codes-of"):
        export_checkpoint(second, tmp_path / "model")
    other = Trainer(tiny_recipe(out=str(tmp_path / "run"), seed=5))
    other.run(until=4)
    export_checkpoint(other.checkpoint, tmp_path / "other", tables=False)
    with pytest.raises(ConfigError, match="codes are others"):
        export_checkpoint(second, tmp_path / "model", codes_of=tmp_path / "other")
    assert not (tmp_path / "model").exists()


def test_in_training_vectors_are_those_of_the_codes_that_are_active():
    torch.manual_seed(0)
    net = CodecNet(CODEC)
    net.keep_encoder()
    wave = torch.randn(3, 1600) * 0.1
    codes, vectors = net._as_exported(wave, torch.tensor([1, 3, 4]))
    assert torch.equal(codes, net.encode(wave, net.encoder_state(3))[0])
    for item, books in enumerate((1, 3, 4)):
        assert torch.allclose(vectors[item], net.quantizer.codes_to_vectors(codes[item : item + 1, :, :books])[0])


def test_a_wave_reaches_the_network_unrounded(tiny_recipe, tmp_path):
    trainer = Trainer(tiny_recipe(out=str(tmp_path), precision="bf16-mixed"))
    assert isinstance(trainer.fabric.strategy.precision, Unrounded)
    seen = []
    trainer.net.module.transform.register_forward_pre_hook(lambda *_: None)
    latents = trainer.net.module.latents
    trainer.net.module.latents = lambda wave: seen.append(wave) or latents(wave)
    wave = torch.full((2, 3200), 1 + 2**-12) * 0.1
    trainer.net(wave)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], wave)


def test_a_head_begins_with_the_spectrum_that_was(tmp_path):
    """Below a quarter of `frame_below` the wave is that of the decoder before, where the head adds nothing of its own."""
    torch.manual_seed(0)
    old, new = CodecNet(TINY["codec"]).eval(), CodecNet(CODEC).eval()
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    found, fitted = adopted(new, old.state_dict(), TINY["codec"])
    new.load_state_dict(found)
    assert fitted
    with torch.no_grad():
        new.head.net.leave.weight.zero_()
        new.head.net.leave.bias.fill_(-30.0)
        codes = torch.randint(16, (1, 50, 4))
        one = old.decode(codes, old.decoder_state(1))[0][0]
        other = new.decode(codes, new.decoder_state(1))[0][0]
    low = len(one) * 700 // 16000
    one, other = torch.fft.rfft(one * torch.hann_window(len(one))), torch.fft.rfft(other * torch.hann_window(len(one)))
    assert float((one[:low] - other[:low]).abs().norm() / one[:low].abs().norm()) < 0.05
    high = len(one) * 3 // 4
    assert float(other[high:].abs().norm() / one[high:].abs().norm()) < 0.05
    again = copy.deepcopy(new)
    assert adopted(again, new.state_dict(), CODEC)[0].keys() == new.state_dict().keys()


def test_a_pitch_loss_without_a_head_is_one_line(tiny_recipe, tmp_path):
    pytest.importorskip("parselmouth")
    with pytest.raises(ConfigError, match=r"codec\.head"):
        Trainer(tiny_recipe(out=str(tmp_path), loss=TINY["loss"] | {"pitch": 1.0}))
    with pytest.raises(ConfigError, match="did you mean 'decoder'"):
        tiny_recipe(learns="decoders")
