"""The count of operations: by hand, by onnxruntime's profile and by torch."""

import json

import numpy as np
import pytest

from mixcodec.evaluate.bench.flops import ProfiledCodec, profile_flops, profiling_options, torch_flops

torch = pytest.importorskip("torch")


def run_profiled(nodes, constants, feeds, folder):
    """Run a graph of onnx nodes on the feeds; return the parsed profile."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None) for node in nodes],
        [numpy_helper.from_array(np.float32(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), profiling_options(folder))
    session.run(None, {name: np.float32(array) for name, array in feeds.items()})
    with open(session.end_profiling()) as file:
        return json.load(file)


def test_graph_against_a_count_by_hand(tmp_path):
    from onnx import helper

    constants = {
        "conv": np.ones((6, 2, 5)),  # 2 groups: 4 channels in, 6 out, kernel 5
        "up": np.ones((6, 3, 4)),  # transposed: 6 channels in, 3 out, kernel 4
        "right": np.ones((7, 8)),
        "tall": np.ones((10, 9)),
    }
    feeds = {"wave": np.ones((2, 4, 20)), "rows": np.ones((3, 5, 7)), "turned": np.ones((10, 11))}
    nodes = [
        helper.make_node("Conv", ["wave", "conv"], ["a"], group=2),  # (2, 6, 16): each value of 2 * 5 products
        helper.make_node("ConvTranspose", ["a", "up"], ["b"], strides=[2]),  # each of 2 * 6 * 16 inputs meets 3 * 4 weights
        helper.make_node("MatMul", ["rows", "right"], ["c"]),  # (3, 5, 8): each value of 7
        helper.make_node("Gemm", ["turned", "tall"], ["d"], transA=1),  # (11, 9): each value of 10
        helper.make_node("Add", ["c", "c"], ["e"]),  # no product
    ]
    expected = 2 * (2 * 6 * 16 * 2 * 5 + 2 * 6 * 16 * 3 * 4 + 3 * 5 * 8 * 7 + 11 * 9 * 10)
    assert profile_flops(run_profiled(nodes, constants, feeds, tmp_path)) == (expected, [])


def test_what_cannot_be_counted_is_named(tmp_path):
    from onnx import helper

    nodes = [
        helper.make_node("Einsum", ["rows", "rows"], ["a"], equation="ij,kj->ik"),
        helper.make_node("MatMul", ["rows", "right"], ["b"]),
    ]
    events = run_profiled(nodes, {"right": np.ones((7, 8))}, {"rows": np.ones((5, 7))}, tmp_path)
    assert profile_flops(events) == (2 * 5 * 8 * 7, ["Einsum"])


def test_torch_against_a_count_by_hand():
    """The three that torch's own counter sees nothing of on the CPU, and a convolution that it does see."""
    conv = torch.nn.Conv1d(4, 6, 5, groups=2)
    lstm = torch.nn.LSTM(12, 10, 2)
    heads = torch.ones(1, 3, 20, 8)
    attend = torch.nn.functional.scaled_dot_product_attention

    @torch.inference_mode()
    def call():
        conv(torch.ones(2, 4, 20))
        lstm(torch.ones(30, 2, 12))
        attend(heads, heads, heads)
        torch.cdist(torch.ones(1, 40, 16), torch.ones(1, 50, 16))

    layers = 30 * 2 * (4 * 10 * (12 + 10) + 4 * 10 * (10 + 10))
    expected = 2 * (2 * 6 * 16 * 2 * 5 + layers + 3 * 2 * 20 * 20 * 8 + 40 * 50 * 16)
    assert torch_flops(call) == expected


@pytest.mark.slow
def test_both_ways_agree_on_one_codec(tmp_path):
    """The same network counted as exported graphs and as torch modules, over the same blocks."""
    from tests.nn.conftest import CODEC

    from mixcodec import load
    from mixcodec.nn.codec import CodecNet
    from mixcodec.nn.export import export_folder, half_precision
    from mixcodec.nn.live import LiveCodec
    from mixcodec.runtime.stream import BLOCK_FRAMES

    torch.manual_seed(0)
    net = CodecNet(CODEC)
    net.quantizer.start(net.latents(torch.randn(4, 64 * 100) * 0.1).detach().flatten(0, 1))
    net = half_precision(net)
    export_folder(net, tmp_path / "small", "small", "# small\n", {})
    live, profiled = LiveCodec(net), ProfiledCodec(load(tmp_path / "small").config)
    wave = np.random.default_rng(0).standard_normal(16000).astype("float32") * 0.1
    codes = live.wave_to_tokens(wave, 16000)
    profiled.wave_to_tokens(wave, 16000)
    profiled.tokens_to_wave(codes)
    # Where the graphs do less than the modules, and by how much: of the last of 4 codebooks the encoder leaves out the
    # way back from 4 to 16 channels, which nothing needs; the decoder has the tables of 32 such rows worked out already,
    # which the module does in each block.
    unneeded = 2 * 4 * 16 * codes.frames
    folded = 2 * 4 * 16 * 32 * 4 * -(-codes.frames // BLOCK_FRAMES)
    assert profiled.count("encode") == (torch_flops(lambda: live.wave_to_tokens(wave, 16000)) - unneeded, [])
    assert profiled.count("decode") == (torch_flops(lambda: live.tokens_to_wave(codes)) - folded, [])
