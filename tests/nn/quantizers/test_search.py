import time
import warnings

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mixcodec.nn.quantizers import search
from mixcodec.nn.quantizers.search import METRICS, nearest_entries


def brute_force(x, entries, metric):
    if metric == "cosine":
        return (1 - F.cosine_similarity(x[..., None, :].double(), entries.double(), dim=-1)).argmin(-1)
    return (x[..., None, :].double() - entries.double()).square().sum(-1).argmin(-1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(50, 4), (3, 7, 4), (4,), (0, 4)])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_nearest_is_that_of_brute_force(monkeypatch, metric, shape, blocks):
    if blocks:
        monkeypatch.setattr(search, "ENTRIES", 10)
        monkeypatch.setattr(search, "SCORES", 30)
        monkeypatch.setattr(search, "WHOLE", 40)
    x, entries = torch.randn(shape), torch.randn(33, 4)
    assert torch.equal(nearest_entries(x, entries, metric), brute_force(x, entries, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_entries_the_first_is_taken_in_any_block(monkeypatch, metric):
    monkeypatch.setattr(search, "ENTRIES", 4)
    monkeypatch.setattr(search, "WHOLE", 0)
    entries = torch.eye(4).repeat(3, 1)
    assert nearest_entries(torch.eye(4), entries, metric).tolist() == [0, 1, 2, 3]


class _Largest(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor._base is None:
                self.elements = max(self.elements, tensor.numel())
        return result


def test_the_scores_of_a_large_codebook_are_never_all_in_memory():
    x, entries = torch.randn(400, 2), torch.randn(1 << 17, 2)
    with _Largest() as largest:
        found = nearest_entries(x, entries, "euclidean")
    assert largest.elements <= search.SCORES  # 4 MiB, where all would be 200 MiB
    assert torch.equal(found[:20], brute_force(x[:20], entries, "euclidean"))


class _Nearest(torch.nn.Module):
    def forward(self, x, entries):
        return nearest_entries(x, entries, "euclidean")


def test_a_graph_searches_in_blocks_too(monkeypatch, tmp_path):
    monkeypatch.setattr(search, "ENTRIES", 10)
    x, entries = torch.randn(50, 4), torch.randn(33, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Nearest(),
            (x[:7], entries),
            str(tmp_path / "nearest.onnx"),
            dynamic_shapes=({0: torch.export.Dim("points")}, None),
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(tmp_path / "nearest.onnx"), providers=["CPUExecutionProvider"])
    assert sum(node.op_type == "MatMul" for node in onnx.load(tmp_path / "nearest.onnx").graph.node) == 4
    names = [i.name for i in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, [x.numpy(), entries.numpy()], strict=True)))
    assert found.tolist() == brute_force(x, entries, "euclidean").tolist()


@pytest.mark.slow
def test_the_search_takes_no_more_than_two_matrix_products():
    x, entries = torch.randn(1024, 8), torch.randn(1 << 17, 8)

    def fastest(run):
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        return min(times)

    assert fastest(lambda: nearest_entries(x, entries, "euclidean")) < 2 * fastest(lambda: x @ entries.T)
