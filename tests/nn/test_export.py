"""The exported folder against the network it came from, both behind the same interface."""

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file

import mixcodec
from mixcodec import load
from mixcodec.entropy.learn import learn_tables
from mixcodec.errors import ModelError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import _halve_weights, export_folder, fingerprint, half_precision
from mixcodec.nn.live import LiveCodec


@pytest.fixture(scope="module")
def net():
    from tests.nn.conftest import CODEC

    torch.manual_seed(0)
    net = CodecNet(CODEC)
    net.quantizer.start(net.latents(torch.randn(4, 64 * 100) * 0.1).detach().flatten(0, 1))
    return half_precision(net)


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    export_folder(net, folder, "small", "# small\n", {"revision": "r"})
    return folder


@pytest.fixture(scope="module")
def wave():
    t = np.arange(16000) / 16000
    return (0.2 * np.sin(2 * np.pi * 200 * t * (1 + t)) + 0.05 * np.random.default_rng(0).standard_normal(16000)).astype(
        "float32"
    )


@pytest.mark.parametrize("codebooks", [1, 2, 4])
@pytest.mark.parametrize("channels", [None, 2])
def test_runtime_and_torch_give_the_same_codes_and_wave(net, folder, wave, codebooks, channels):
    live, exported = LiveCodec(net), load(folder)
    wave = wave if channels is None else np.stack([wave, wave[::-1]])
    ours, theirs = (codec.wave_to_tokens(wave, 16000, codebooks=codebooks) for codec in (live, exported))
    assert ours.codes.shape == theirs.codes.shape
    assert (ours.codes == theirs.codes).mean() >= 0.999
    assert np.abs(live.tokens_to_wave(theirs) - exported.tokens_to_wave(theirs)).max() < 1e-3


@pytest.mark.parametrize("level", [0.0, 1e-9, 1e-6, 1e-4, 4.0])
def test_they_agree_on_silence_and_on_any_level(net, folder, wave, level):
    live, exported = LiveCodec(net), load(folder)
    part = np.concatenate([level * wave[:8000], wave[8000:]])
    ours, theirs = live.wave_to_tokens(part, 16000), exported.wave_to_tokens(part, 16000)
    assert (ours.codes == theirs.codes).mean() >= 0.99
    assert len(np.unique(theirs.codes[-50:, 0])) > 1, "the sound after the silence is coded"
    assert np.isfinite(exported.tokens_to_wave(theirs)).all()


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda live: pickle.loads(pickle.dumps(live))], ids=["copy", "deep", "pickle"]
)
def test_a_live_codec_and_its_streams_are_copied(net, wave, again):
    live = LiveCodec(net)
    tokens = live.wave_to_tokens(wave, 16000)
    other = again(live)
    assert other.fingerprint == live.fingerprint
    assert other.wave_to_tokens(wave, 16000) == tokens
    encoder = live.stream_encoder()
    first = encoder.push(wave[:5000])
    for stream in (again(encoder), encoder):
        assert np.array_equal(np.concatenate([first, stream.push(wave[5000:]), stream.finish()]), tokens.codes)


def test_the_graphs_and_the_config_name_their_weights(net, folder, wave, tmp_path):
    """Graphs of another training of the same network fit in every other way."""
    assert "tables" not in json.loads((folder / "config.json").read_text())
    tables = learn_tables([load(folder).wave_to_tokens(wave, 16000, codebooks=4).codes], net.codebook_size)
    export_folder(net, tmp_path / "same", "same", "# same\n", tables=tables)
    assert load(tmp_path / "same").config.tables == f"{tables.fingerprint:08x}"
    assert load(tmp_path / "same").tables.fingerprint == tables.fingerprint
    other = CodecNet(net.config)
    export_folder(other, tmp_path / "other", "other", "# other\n")
    shutil.copy(tmp_path / "other" / "encoder.onnx", tmp_path / "same" / "encoder.onnx")
    with pytest.raises(ModelError, match=f"encoder.onnx: is a graph of the model {fingerprint(other)}, not of same"):
        load(tmp_path / "same").wave_to_tokens(wave, 16000)


def test_the_folder_holds_the_weights_and_the_config_rebuilds_the_network(net, folder):
    assert {path.name for path in folder.iterdir()} == {
        "card.md", "config.json", "decoder.onnx", "encoder.onnx", "model.safetensors"
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    again = CodecNet(config["codec"])
    again.load_state_dict(load_file(folder / "model.safetensors"))
    assert fingerprint(again) == config["fingerprint"] == load(folder).fingerprint
    assert config["revision"] == "r"


def test_the_fingerprint_changes_with_a_weight(net):
    other = half_precision(net)
    with torch.no_grad():
        other.decoder.leave.bias[0] += 1
    assert fingerprint(other) != fingerprint(net)


def test_a_second_export_replaces_the_first_and_leaves_nothing_else(net, folder, monkeypatch):
    before = sorted(folder.parent.iterdir())
    monkeypatch.setattr("mixcodec.nn.export._export_graph", lambda *_: (_ for _ in ()).throw(RuntimeError("stopped")))
    with pytest.raises(RuntimeError, match="stopped"):
        export_folder(net, folder, "small", "")
    assert sorted(folder.parent.iterdir()) == before
    assert (folder / "config.json").exists()


def test_a_large_constant_that_float16_cannot_hold_stays_exact():
    kept, halved = np.triu(np.full((64, 64), -1e30, "float32"), 1), np.full((64, 64), 0.25, "float32")
    weights = [numpy_helper.from_array(array, name) for name, array in (("mask", kept), ("weight", halved))]
    model = helper.make_model(helper.make_graph([], "g", [], [], weights))
    _halve_weights(model, set())
    found = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    np.testing.assert_array_equal(found["mask"], kept)
    assert found["weight.half"].dtype == "float16"


def test_the_graphs_do_not_say_where_they_were_made(folder):
    for graph in folder.glob("*.onnx"):
        data = graph.read_bytes()
        assert str(Path(mixcodec.__file__).parent).encode() not in data
        assert b"stack_trace" not in data
