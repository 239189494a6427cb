"""Every model inside the package: small, honest about itself, the same in torch, streaming as offline, and it sounds."""

import json
from pathlib import Path

import numpy as np
import pytest
from pesq import pesq
from pystoi import stoi
from safetensors.torch import load_file

from mixcodec import load, read_audio
from mixcodec.models import HOME, PLAIN, shipped_models, variant_folders
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import fingerprint
from mixcodec.nn.live import LiveCodec

CLIPS = sorted((Path(__file__).parent.parent / "examples").glob("*.flac"))
MODELS = shipped_models()
VARIANTS = [(model, variant) for model in MODELS for variant in variant_folders(HOME / model) if variant != PLAIN]


@pytest.fixture(scope="module", params=MODELS)
def codec(request):
    return load(request.param)


@pytest.fixture(scope="module")
def net(codec):
    net = CodecNet(codec.config.extra["codec"])
    net.load_state_dict(load_file(codec.config.folder / "model.safetensors"))
    return net.float()


@pytest.fixture(scope="module", params=CLIPS, ids=lambda path: path.stem)
def clip(request):
    return read_audio(request.param)


def test_there_is_the_default_model():
    assert "speech-16k" in MODELS


def test_size_parameters_and_papers(codec, net):
    files = {path.name: path.stat().st_size for path in codec.config.folder.iterdir()}
    assert {"config.json", "encoder.onnx", "decoder.onnx", "model.safetensors", "card.md"} <= files.keys()
    assert sum(files.values()) <= 40e6
    assert sum(p.numel() for p in net.parameters()) <= 10e6
    card = (codec.config.folder / "card.md").read_text()
    assert "licence" in card.lower()
    assert "PESQ" in card
    config = json.loads((codec.config.folder / "config.json").read_text())
    assert config["revision"] not in ("", "unknown")
    assert config["fingerprint"] == fingerprint(net)


def test_runtime_and_torch_agree(codec, net):
    """Over both clips together: a single near tie that falls the other way takes the finer codebooks of its frame with it."""
    live, same = LiveCodec(net), []
    for wave, rate in map(read_audio, CLIPS):
        ours, theirs = (one.wave_to_tokens(wave, rate, codebooks=codec.codebooks) for one in (live, codec))
        same.append((ours.codes == theirs.codes).ravel())
        some = theirs.with_codebooks(codec.config.default_codebooks)
        assert np.abs(live.tokens_to_wave(some) - codec.tokens_to_wave(some)).max() < 1e-3
    assert np.concatenate(same).mean() >= 0.995


@pytest.mark.parametrize("frames", [1, 3, 50])
def test_streaming_equals_offline(codec, clip, frames):
    wave, rate = clip
    whole = codec.wave_to_tokens(wave, rate)
    encoder, decoder = codec.stream_encoder(sample_rate=rate), codec.stream_decoder(sample_rate=rate, sample_count=len(wave))
    step = frames * codec.hop
    codes = [encoder.push(wave[at : at + step]) for at in range(0, len(wave), step)] + [encoder.finish()]
    waves = [decoder.push(part) for part in codes] + [decoder.finish()]
    assert (np.concatenate(codes) == whole.codes).mean() >= 0.999
    assert np.abs(np.concatenate(waves) - codec.tokens_to_wave(whole)).max() < 1e-3


def test_it_sounds_better_with_more_bits(codec, clip):
    """On a voice of the training data: a check that nothing is broken, not a measure of quality."""
    wave, rate = clip
    found = []
    for books in sorted({max(1, round(share * codec.codebooks)) for share in (0.125, 0.375, 0.75, 1)}):
        coded = codec.tokens_to_wave(codec.wave_to_tokens(wave, rate, codebooks=books))
        found.append((pesq(rate, wave, coded, "wb"), stoi(wave, coded, rate)))
    assert found == sorted(found)
    assert found[-1] > ((1.9, 0.85) if codec.codebooks > 1 else (1.4, 0.75))


@pytest.mark.parametrize("level", [1.0, 0.3, 0.03, 0.003])
def test_it_follows_the_level_and_digital_silence(codec, clip, level):
    wave, rate = clip
    quiet = np.concatenate([np.zeros(rate, np.float32), level * wave, np.zeros(rate, np.float32)])
    coded = codec.tokens_to_wave(codec.wave_to_tokens(quiet, rate))
    speech = slice(rate, -rate)
    gain = 20 * np.log10(np.std(coded[speech]) / np.std(quiet[speech]))
    assert abs(gain) < (3 if level >= 0.03 else 12)
    assert np.std(coded[: rate // 2]) < 0.01 * np.std(wave)
    assert np.std(coded[-rate // 2 :]) < 0.01 * np.std(wave)


@pytest.mark.parametrize(("model", "variant"), VARIANTS)
def test_a_variant_is_near_the_plain_graphs(model, variant):
    """On clips of speakers that it was trained on: a check that nothing is broken, not a measure of quality."""
    plain, other = load(model), load(model, variant=variant)
    same, power, difference = [], 0.0, 0.0
    for wave, rate in map(read_audio, CLIPS):
        tokens = plain.wave_to_tokens(wave, rate)
        same.append(tokens.codes[:, 0] == other.wave_to_tokens(wave, rate).codes[:, 0])
        sound = plain.tokens_to_wave(tokens)
        power += np.square(sound).sum()
        difference += np.square(sound - other.tokens_to_wave(tokens)).sum()
    assert np.concatenate(same).mean() > 0.95
    assert 10 * np.log10(power / difference) > 25
