"""The variants of a small exported model against its plain graphs."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from mixcodec import load
from mixcodec.errors import ConfigError, ModelError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import export_folder, half_precision
from mixcodec.nn.variants import _range, _rounded, variant_graphs

WIDE = {"width": 96, "stages": [{"mixer": "convolution", "channel": "mlp"}, {"mixer": "attention", "channel": "mlp"}]}


@pytest.fixture(scope="module")
def waves():
    generator = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    return [
        (0.2 * np.sin(2 * np.pi * pitch * time * (1 + time)) + 0.03 * generator.standard_normal(16000)).astype("float32")
        for pitch in (150, 220, 400)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, waves):
    from tests.nn.conftest import CODEC

    torch.manual_seed(0)
    net = CodecNet(CODEC | {"encoder": WIDE, "decoder": WIDE})
    net.quantizer.start(net.latents(torch.from_numpy(np.stack(waves))).detach().flatten(0, 1))
    folder = tmp_path_factory.mktemp("models") / "small"
    export_folder(half_precision(net), folder, "small", "# small\n")
    for variant in ("int8", "bf16"):
        for name, graph in variant_graphs(folder, variant, waves).items():
            (folder / name).write_bytes(graph)
    return folder


@pytest.fixture(scope="module", params=["int8", "bf16"])
def variant(request):
    return request.param


def test_a_stream_gives_what_the_whole_wave_gives(folder, variant, waves):
    """Within int8 too, which it would not with ranges that are found at run time."""
    codec = load(folder, variant=variant)
    whole = codec.wave_to_tokens(waves[0], 16000)
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder(sample_count=16000)
    codes = [encoder.push(waves[0][at : at + 64]) for at in range(0, 16000, 64)] + [encoder.finish()]
    sound = [decoder.push(part) for part in codes] + [decoder.finish()]
    assert (np.concatenate(codes) == whole.codes).mean() >= 0.999
    assert np.abs(np.concatenate(sound) - codec.tokens_to_wave(whole)).max() < 1e-3


@pytest.mark.filterwarnings("ignore::mixcodec.errors.MixcodecWarning")
def test_a_second_voice_changes_nothing_for_the_first(folder, variant, waves):
    codec = load(folder, variant=variant)
    both = codec.wave_to_tokens(np.stack([waves[0], 30 * waves[1]]), 16000, codebooks=2)
    assert (both.codes[0] == codec.wave_to_tokens(waves[0], 16000, codebooks=2).codes).mean() >= 0.999


def test_any_variant_decodes_what_another_encodes(folder, variant, waves):
    plain, other = load(folder), load(folder, variant=variant)
    assert (other.fingerprint, other.variant, plain.variant) == (plain.fingerprint, variant, "float32")
    for encoder, decoder in ((plain, other), (other, plain)):
        tokens = encoder.wave_to_tokens(waves[1], 16000)
        sound, near = decoder.tokens_to_wave(tokens), encoder.tokens_to_wave(tokens)
        assert np.square(sound - near).sum() < 1e-2 * np.square(near).sum()  # 20 dB; the shipped model has more than 35


def test_most_codes_are_the_plain_ones(folder, variant, waves):
    plain, other = load(folder), load(folder, variant=variant)
    same = [plain.wave_to_tokens(wave, 16000).codes[:, 0] == other.wave_to_tokens(wave, 16000).codes[:, 0] for wave in waves]
    assert np.concatenate(same).mean() > 0.9


@pytest.mark.parametrize("direction", ["encoder", "decoder"])
def test_the_state_is_that_of_the_plain_graph(folder, variant, direction):
    plain, other = (onnx.load(folder / f"{direction}{middle}.onnx").graph for middle in ("", f".{variant}"))
    for side in ("input", "output"):
        assert [entry.SerializeToString() for entry in getattr(plain, side)] == [
            entry.SerializeToString() for entry in getattr(other, side)
        ]


def test_int8_takes_the_products_of_the_blocks_and_the_encoders_first(folder):
    for direction, products in (("encoder", 7), ("decoder", 6)):  # up, down, qkv, out, up, down
        graph = onnx.load(folder / f"{direction}.int8.onnx").graph
        assert sum(node.op_type == "MatMulIntegerToFloat" for node in graph.node) == products
        left = {tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
        assert not left & {(96, 384), (384, 96), (96, 288), (96, 96)}


def test_bf16_is_the_nearest(folder):
    for direction in ("encoder", "decoder"):
        plain, other = (onnx.load(folder / f"{direction}{middle}.onnx").graph for middle in ("", ".bf16"))
        halves = {tensor.name: tensor for tensor in plain.initializer if tensor.data_type == TensorProto.FLOAT16}
        stored = {tensor.name: tensor for tensor in other.initializer if tensor.data_type == TensorProto.BFLOAT16}
        assert halves.keys() == stored.keys()
        for name, half in halves.items():
            expected = torch.from_numpy(numpy_helper.to_array(half).astype(np.float32)).bfloat16()
            bits = np.frombuffer(stored[name].raw_data, "<u2").reshape(expected.shape)
            assert np.array_equal(bits, expected.view(torch.int16).numpy().view(np.uint16))


def test_no_pair_of_products_overflows_16_bits():
    """Of what a processor without VNNI adds up: uint8 times int8, two inputs at a time."""
    generator = np.random.default_rng(0)
    for shape in ((64, 32), (33, 8), (1, 4), (2, 1)):
        for weight in (generator.standard_normal(shape), np.ones(shape), generator.standard_cauchy(shape)):
            integers, steps = _rounded(weight)
            pairs = np.pad(integers.astype(int), ((0, shape[0] % 2), (0, 0))).reshape(-1, 2, shape[1])
            assert 255 * np.clip(pairs, 0, None).sum(1).max() <= 32767
            assert 255 * np.clip(pairs, None, 0).sum(1).min() >= -32768
            assert (np.abs(integers * steps - weight) <= 0.51 * steps).all()


def test_the_range_is_the_best_of_those_tried():
    x = np.random.default_rng(0).standard_normal((500, 8)) ** 3
    step, zero = _range(x, np.ones(8))
    assert 0 <= zero <= 255

    def error(step, zero):
        return np.square((np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step - x).sum()

    whole = (x.max() - x.min()) / 255
    assert error(step, zero) <= error(whole, round(-x.min() / whole))


def test_what_cannot_be_made(folder, waves, tmp_path):
    with pytest.raises(ConfigError, match="finds the ranges of its numbers on recordings"):
        variant_graphs(folder, "int8")
    with pytest.raises(ConfigError, match="int4"):
        variant_graphs(folder, "int4", waves)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ModelError, match=r"encoder\.onnx: no such file"):
        variant_graphs(tmp_path, "bf16")


def test_the_graphs_share_the_config(folder):
    assert json.loads((folder / "config.json").read_text())["fingerprint"] == load(folder, variant="int8").fingerprint
