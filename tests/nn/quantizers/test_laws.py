"""What holds for every quantizer, whatever its family."""

import datetime
import itertools
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers import QUANTIZERS, FrozenBank, SimVq, Vq
from mixcodec.nn.quantizers.lookup import Lookup

CHANNELS = 12
SMALL = {"size": 32, "dim": 4}
CASES = {
    "vq": {"kind": "vq", **SMALL, "metric": "euclidean"},
    "vq cosine": {"kind": "vq", **SMALL},
    "vq_gradient": {"kind": "vq_gradient", **SMALL, "fitted": True},
    "simvq": {"kind": "simvq", **SMALL},
    "simvq cosine": {"kind": "simvq", **SMALL, "metric": "cosine"},
    "frozen_bank": {"kind": "frozen_bank", **SMALL},
    "fsq": {"kind": "fsq", "levels": [5, 4, 3]},
    "lfq": {"kind": "lfq", "size": 32},
    "scalar": {"kind": "scalar", "codebooks": 6, "size": 7},
    "residual": {"kind": "residual", "codebooks": 3, "codebook": {**SMALL, "metric": "euclidean"}},
    "residual fsq": {"kind": "residual", "codebooks": 3, "codebook": {"kind": "fsq", "levels": [5, 4, 3]}},
    "residual lfq": {"kind": "residual", "codebooks": 3, "codebook": {"kind": "lfq", "size": 32}},
    "residual simvq": {"kind": "residual", "codebooks": 3, "codebook": {"kind": "simvq", **SMALL}},
    "group_residual": {"kind": "group_residual", "codebooks": 4, "codebook": {**SMALL, "metric": "euclidean"}},
    "grouped fsq": {"kind": "group_residual", "codebooks": 3, "groups": 3, "codebook": {"kind": "fsq", "levels": [5, 4, 3]}},
    "masked_residual": {"kind": "masked_residual", "codebooks": 5, "codebook": {**SMALL, "metric": "euclidean"}},
    "masked only": {"kind": "masked_residual", "codebooks": 3, "codebook": {"kind": "simvq", "size": 32, "dim": 3}},
    "multi_scale": {"kind": "multi_scale", "strides": [4, 2, 1], "codebook": {**SMALL, "metric": "euclidean"}},
    "merged_residual": {"kind": "merged_residual", "strides": [2, 1, 1], "codebook": {**SMALL, "metric": "euclidean"}},
    "dropout": {"kind": "dropout", "probability": 0, "quantizer": {"kind": "scalar", "codebooks": 6, "size": 7}},
    "semantic_split": {"kind": "semantic_split", "codebooks": 4, "codebook": {**SMALL, "metric": "euclidean"}},
    "semantic first": {"kind": "semantic_split", "codebooks": 3, "parallel": False, "codebook": {"kind": "simvq", **SMALL}},
    "tail_drop": {"kind": "tail_drop", "frames": 3, "tokens": 12, "dim": 3, "drop": 0},
    "reduced": {"kind": "reduced", "digits": 3, "codebook": {"size": 64, "dim": 4, "metric": "euclidean"}},
    "reduced simvq": {"kind": "reduced", "digits": 5, "codebook": {"kind": "simvq", **SMALL}},
    "codebook_features": {"kind": "codebook_features", "size": 32, "top": 3},
    "vae": {"kind": "vae", "dim": 6},
    "none": {"kind": "none"},
}
WITHOUT_WEIGHTS = ("none",)
FROZEN = ("basis", "bank")


def features(count):
    """Vectors (count, CHANNELS) in clusters, off zero, of unlike variances."""
    world = torch.Generator().manual_seed(5)
    centres = 3 * torch.randn(12, CHANNELS, generator=world)
    mix = torch.randn(CHANNELS, CHANNELS, generator=world)
    return 0.1 * (centres[torch.randint(12, (count,))] + torch.randn(count, CHANNELS)) @ mix + 0.1


def build(name, started=True):
    torch.manual_seed(0)
    quantizer = QUANTIZERS.build(CASES[name], channels=CHANNELS)
    if started:
        quantizer.start(features(1500))
    return quantizer


SEVERAL = [name for name in CASES if build(name, False).codebooks > 1]
every = pytest.mark.parametrize("name", CASES)


def test_every_kind_is_held_to_the_laws():
    assert {config["kind"] for config in CASES.values()} == set(QUANTIZERS.kinds())


@every
@pytest.mark.parametrize("started", [False, True])
def test_codes_and_vectors_agree(name, started):
    quantizer = build(name, started).eval()
    z = features(18).view(2, 9, CHANNELS)
    codes, vectors, loss, usage = quantizer(z)
    assert codes.shape == (2, 9, quantizer.codebooks)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < quantizer.size
    assert torch.equal(codes, quantizer.vectors_to_codes(z))
    torch.testing.assert_close(vectors, quantizer.codes_to_vectors(codes), rtol=1e-4, atol=1e-4)
    assert loss.shape == ()
    assert loss.isfinite()
    assert usage.shape == (quantizer.codebooks,)
    assert ((usage > 0) & (usage <= 1)).all()


@every
def test_a_frame_is_encoded_the_same_alone_and_among_others(name):
    quantizer = build(name).eval()
    z = features(40).view(2, 20, CHANNELS)
    codes, stride = quantizer.vectors_to_codes(z), quantizer.stride
    assert torch.equal(codes[1, stride : 2 * stride], quantizer.vectors_to_codes(z[1:, stride : 2 * stride])[0])
    assert torch.equal(codes[0], quantizer.vectors_to_codes(z[0]))


@every
def test_frames_share_a_code_as_often_as_is_stated(name):
    quantizer = build(name).eval()
    codes = quantizer.vectors_to_codes(features(600).view(2, 300, CHANNELS))
    assert len(quantizer.strides) == quantizer.codebooks
    for k, stride in enumerate(quantizer.strides):
        starts = torch.arange(300) // stride * stride
        assert torch.equal(codes[..., k], codes[:, starts, k])
        assert (codes[:, stride:, k] != codes[:, :-stride, k]).any()


@every
def test_mixed_precision_changes_no_code(name):
    quantizer = build(name)
    z = features(400).view(4, 100, CHANNELS).requires_grad_()
    with torch.no_grad():
        codes = quantizer.vectors_to_codes(z)
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(z)
        assert torch.equal(quantized.codes, codes)
        assert quantized.vectors.dtype == torch.float32
        (quantized.vectors.square().mean() + quantized.loss).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in quantizer.parameters())
    quantizer = build(name).eval()
    with torch.no_grad():
        codes = quantizer.vectors_to_codes(z)
        vectors = quantizer.codes_to_vectors(codes)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(quantizer.vectors_to_codes(z), codes)
        torch.testing.assert_close(quantizer.codes_to_vectors(codes), vectors)
        assert quantizer(z.bfloat16()).vectors.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_of_another_precision_changes_no_code(name, dtype):
    quantizer = build(name).eval()
    z = features(60).view(2, 30, CHANNELS).to(dtype)
    codes, vectors, _, usage = quantizer(z.float())
    model = torch.nn.Sequential(quantizer).to(dtype)
    again = model(z)
    assert torch.equal(again.codes, codes)
    assert torch.equal(quantizer.vectors_to_codes(z), codes)
    torch.testing.assert_close(again.vectors, vectors)
    assert torch.equal(again.usage, usage)
    assert all(weight.is_meta for weight in model.to("meta").state_dict().values())


@every
def test_the_first_codebooks_alone_are_a_lower_rate(name):
    quantizer = build(name).eval()
    books = quantizer.codebooks
    z = features(9 * (books + 1)).view(books + 1, 9, CHANNELS)
    codes = quantizer.vectors_to_codes(z)
    quantized = quantizer(z, torch.arange(books + 1))
    assert not quantized.vectors[0].any()
    for k in range(1, books + 1):
        assert torch.equal(quantized.codes[k, :, :k], codes[k, :, :k])
        torch.testing.assert_close(quantized.vectors[k], quantizer.codes_to_vectors(codes[k, :, :k]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SEVERAL)
def test_another_codebook_does_not_raise_the_error_on_what_the_codebooks_were_fitted_to(name):
    torch.manual_seed(0)
    quantizer = QUANTIZERS.build(CASES[name], channels=CHANNELS)
    z = features(3000)
    quantizer.start(z)
    codes = quantizer.vectors_to_codes(z)
    errors = [(quantizer.codes_to_vectors(codes[..., :k]) - z).square().mean() for k in range(1, quantizer.codebooks + 1)]
    variance = (z - z.mean(0)).square().mean()
    for before, after in itertools.pairwise(errors):
        assert after < before + 1e-3 * variance
    assert errors[-1] < 0.6 * errors[0]
    assert errors[-1] < 0.5 * variance


@every
def test_all_that_should_learn_does_and_nothing_else(name):
    quantizer = build(name, started=False)
    z = features(2000).view(10, 200, CHANNELS).requires_grad_()
    quantized = quantizer(z)
    ((quantized.vectors - 2 * z.detach()).square().mean() + quantized.loss).backward()
    assert z.grad.abs().sum() > 0
    for parameter, weight in quantizer.named_parameters():
        assert weight.grad is not None, parameter
        assert weight.grad.abs().sum() > 0, parameter
    frozen = {k: v.clone() for k, v in quantizer.state_dict().items() if k.rpartition(".")[2] in FROZEN}
    assert len(frozen) == sum(isinstance(part, SimVq | FrozenBank) for part in quantizer.modules())
    if name not in WITHOUT_WEIGHTS:
        torch.optim.SGD(quantizer.parameters(), 0.1).step()
    assert all(torch.equal(quantizer.state_dict()[k], v) for k, v in frozen.items())


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_WEIGHTS])
def test_it_learns(name):
    quantizer = build(name, started=False)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.02)
    z = features(600).view(6, 100, CHANNELS)
    for _ in range(100):
        quantized = quantizer(z)
        error = (quantized.vectors - z).square().mean()
        optimizer.zero_grad()
        (error + quantized.loss).backward()
        optimizer.step()
    assert error < 0.75 * z.square().mean()


@pytest.mark.parametrize("name", [name for name in CASES if name not in SEVERAL])
def test_the_gradient_goes_straight_through(name):
    quantizer = build(name)
    z = features(30).view(3, 10, CHANNELS).requires_grad_()
    weight = torch.randn(3, 10, CHANNELS)
    (through,) = torch.autograd.grad((quantizer(z).vectors * weight).sum(), z)
    (around,) = torch.autograd.grad((quantizer.leave(quantizer._inside(z)) * weight).sum(), z)
    torch.testing.assert_close(through, around)


@every
def test_what_is_not_active_has_no_influence(name):
    quantizer = build(name)
    z = features(100).view(2, 50, CHANNELS).requires_grad_()
    quantized = quantizer(z, torch.tensor([0, quantizer.codebooks]))
    (quantized.vectors.square().sum() + quantized.loss).backward()
    assert not z.grad[0].any()
    assert z.grad[1].any()
    quantized = quantizer(z, torch.tensor([0, 0]))
    assert quantized.loss.abs() == 0
    assert not quantized.vectors.any()


@every
def test_evaluation_teaches_nothing(name):
    quantizer = build(name).eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(features(100).view(2, 50, CHANNELS))
    assert all(torch.equal(v, before[k]) for k, v in quantizer.state_dict().items())


@every
def test_frames_that_are_no_numbers_do_not_spoil_the_counts(name):
    quantizer = build(name)
    z = features(100).view(2, 50, CHANNELS)
    z[0, :5] = float("nan")
    codes = quantizer(z).codes
    assert codes.min() >= 0
    assert codes.max() < quantizer.size
    usage = quantizer(features(100).view(2, 50, CHANNELS)).usage
    assert ((usage > 0) & (usage <= 1)).all()


@every
def test_weights_carry_all_that_makes_the_codes(name):
    first, second = build(name).eval(), QUANTIZERS.build(CASES[name], channels=CHANNELS).eval()
    second.load_state_dict(first.state_dict())
    z = features(60).view(2, 30, CHANNELS)
    codes = first.vectors_to_codes(z)
    assert torch.equal(codes, second.vectors_to_codes(z))
    assert torch.equal(first.codes_to_vectors(codes), second.codes_to_vectors(codes))


@pytest.mark.parametrize("name", [name for name in CASES if isinstance(build(name, False), Lookup)])
def test_the_code_is_that_of_the_nearest_entry(name):
    quantizer = build(name).eval()
    z = features(200)
    x, entries = quantizer._inside(z).double(), quantizer.table().double()
    distance = (x[:, None] - entries).square().sum(-1)
    assert torch.equal(quantizer.vectors_to_codes(z)[..., 0], distance.argmin(-1))


@pytest.mark.parametrize("name", ["fsq", "lfq", "scalar"])
def test_the_code_is_that_of_the_nearest_corner_of_the_grid(name):
    quantizer = build(name).eval()
    z = features(200)
    x = quantizer._inside(z).double()
    if name == "scalar":
        values = quantizer._stands_for(torch.arange(quantizer.size)[:, None].expand(-1, quantizer.codebooks)).double()
        assert torch.equal(quantizer.vectors_to_codes(z), (x[:, None] - values).abs().argmin(1))
        return
    grid = quantizer._stands_for(torch.arange(quantizer.size)[:, None]).double()
    steps = quantizer.middle if name == "fsq" else 1  # the steps of one number are as wide as another's in its own unit
    distance = ((x[:, None] - grid) * steps).square().sum(-1)
    assert torch.equal(quantizer.vectors_to_codes(z)[..., 0], distance.argmin(-1))


class _Both(torch.nn.Module):
    def __init__(self, quantizers):
        super().__init__()
        self.quantizers = torch.nn.ModuleList(quantizers)

    def forward(self, z, codes):
        found = [q.vectors_to_codes(z) for q in self.quantizers]
        return found, [q.codes_to_vectors(c) for q, c in zip(self.quantizers, codes, strict=True)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What one graph with all quantizers makes of features, beside what torch makes of them: by name."""
    quantizers = {name: build(name).eval() for name in CASES}
    path = tmp_path_factory.mktemp("graph") / "both.onnx"
    batch, length = torch.export.Dim("batch"), torch.export.Dim("frames")
    books = [torch.export.Dim(f"books{i}", max=q.codebooks) for i, q in enumerate(quantizers.values())]
    axes = [{0: batch, 1: length} | ({2: books[i]} if q.codebooks > 1 else {}) for i, q in enumerate(quantizers.values())]
    codes = [torch.zeros(2, 6, q.codebooks).long() for q in quantizers.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Both(quantizers.values()),
            (torch.randn(2, 6, CHANNELS), codes),
            str(path),
            dynamic_shapes=({0: batch, 1: length}, axes),
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    z = features(3 * 11).view(3, 11, CHANNELS)
    given = [q.vectors_to_codes(z)[..., : max(1, q.codebooks - 1)] for q in quantizers.values()]
    names = [i.name for i in session.get_inputs()]
    got = session.run(None, dict(zip(names, [z.numpy(), *(g.numpy() for g in given)], strict=True)))
    codes, vectors = got[: len(quantizers)], got[len(quantizers) :]
    return {
        name: (codes[i], q.vectors_to_codes(z).numpy(), vectors[i], q.codes_to_vectors(given[i]).detach().numpy())
        for i, (name, q) in enumerate(quantizers.items())
    }


@every
def test_the_exported_graph_finds_the_same(name, exported):
    codes, own_codes, vectors, own_vectors = exported[name]
    assert np.array_equal(codes, own_codes)
    np.testing.assert_allclose(vectors, own_vectors, rtol=1e-4, atol=1e-4)


def _train(names, batches):
    """The buffers of all quantizers after 19 batches of `batches` (steps, B, T, C), and after all of them."""
    early, late = {}, {}
    for name in names:
        quantizer = build(name)
        for part in quantizer.modules():
            if isinstance(part, Vq) and part.metric == "euclidean":
                part.entries[:5] += 100  # step 20 finds them dead
                part.count[:5] = 0
                part.total[:5] = 0
        for step, z in enumerate(batches):
            if step == 19:
                early[name] = {k: v.clone() for k, v in quantizer.named_buffers()}
            quantizer(z)
        late[name] = dict(quantizer.named_buffers())
    return early, late


def _in_process(rank, names, batches, path):
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=120)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2, timeout=limit)
    torch.save(_train(names, batches[:, rank]), f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Batches (steps, process, B, T, C) that two processes learned from, and the buffers that each then had."""
    path = tmp_path_factory.mktemp("processes")
    batches = features(25 * 2 * 2 * 30).view(25, 2, 2, 30, CHANNELS)
    torch.multiprocessing.spawn(_in_process, (list(CASES), batches, str(path)), nprocs=2)
    return batches, *(torch.load(path / f"{rank}.pt") for rank in range(2))


@every
def test_processes_that_learn_together_have_the_same_codebooks(name, two_processes):
    _, *ranks = two_processes
    for first, second in zip(*ranks, strict=True):
        assert any(buffer.endswith("count") for buffer in first[name])
        for buffer, value in first[name].items():
            assert torch.equal(value, second[name][buffer]), buffer
    for buffer, value in first[name].items():
        if buffer.endswith("entries"):
            assert value.abs().max() < 50, "dead entries are replaced"


@every
def test_processes_learn_from_what_all_of_them_see(name, two_processes):
    batches, (early, _), _ = two_processes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as they had: principal axes of little variance hang on how sums are cut
    try:
        alone, _ = _train([name], batches[:20].flatten(1, 2))
    finally:
        torch.set_num_threads(threads)
    for buffer, value in early[name].items():
        torch.testing.assert_close(value, alone[name][buffer], rtol=1e-3, atol=1e-3, msg=buffer)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"kind": "vq", "metric": "manhattan"}, "'vq': metric .* 'manhattan'"),
        ({"kind": "simvq", "size": 1}, "'simvq': size is 1"),
        ({"kind": "simvq", "dim": 0}, "'simvq': dim is 0"),
        ({"kind": "vq_gradient", "commitment": -1}, "'vq_gradient': commitment is -1"),
        ({"kind": "vq_gradient", "fited": True}, "did you mean 'fitted'"),
        ({"kind": "frozen_bank", "fit": "all"}, "'frozen_bank': fit .* 'all'"),
        ({"kind": "frozen_bank", "features": 0}, "'frozen_bank': features is 0"),
        ({"kind": "fsq", "levels": [8, 2]}, r"'fsq': levels is \[8, 2\]"),
        ({"kind": "fsq", "levels": []}, "'fsq': levels"),
        ({"kind": "fsq", "levels": 5}, "'fsq': levels is 5"),
        ({"kind": "fsq", "levels": "55"}, "'fsq': levels is '55'"),
        ({"kind": "fsq", "levels": [1000, 1000, 1000]}, "'fsq': levels .* 1048576"),
        ({"kind": "lfq", "size": 1000}, "'lfq': size is 1000"),
        ({"kind": "lfq", "temperature": 0}, "'lfq': temperature is 0"),
        ({"kind": "lfq", "diversity": "high"}, "'lfq': diversity is 'high'"),
        ({"kind": "scalar", "codebooks": 0}, "'scalar': codebooks is 0"),
        ({"kind": "scalar", "size": 1}, "'scalar': size is 1"),
        ({"kind": "group_residual", "codebooks": 6, "groups": 4}, "'group_residual': groups is 4, .* 6 codebooks"),
        ({"kind": "group_residual", "codebooks": 10, "groups": 5}, "'group_residual': groups is 5, .* 12 channels"),
        ({"kind": "masked_residual", "codebooks": 2, "masked": 3}, "'masked_residual': masked is 3"),
        ({"kind": "masked_residual", "codebook": {"kind": "scalar"}}, "'masked_residual': .* 'scalar'"),
        ({"kind": "residual", "codebook": {"kind": "scalar"}}, "'residual': .* 'scalar'"),
        ({"kind": "multi_scale", "strides": []}, r"'multi_scale': strides is \[\]"),
        ({"kind": "multi_scale", "strides": [2, 0]}, "'multi_scale': one of strides is 0"),
        ({"kind": "merged_residual", "strides": "21"}, "strides is '21'"),
        ({"kind": "dropout", "probability": 2}, "'dropout': probability is 2"),
        ({"kind": "semantic_split", "codebooks": 1}, "'semantic_split': codebooks is 1"),
        ({"kind": "semantic_split", "teacher": -1}, "'semantic_split': teacher is -1"),
        ({"kind": "semantic_split", "semantic": {"size": 64}}, "'semantic_split': semantic gives 1 codes of 64"),
        ({"kind": "tail_drop", "frames": 0}, "'tail_drop': frames is 0"),
        ({"kind": "tail_drop", "drop": "often"}, "'tail_drop': drop is 'often'"),
        ({"kind": "tail_drop", "codebook": {"kind": "scalar"}}, "'tail_drop': .* 'scalar'"),
        ({"kind": "reduced", "digits": 3, "codebook": {"size": 1024}}, "'reduced': .* 1024, .* 3 digits"),
        ({"kind": "reduced", "codebook": {"kind": "fsq"}}, "'reduced': 'fsq' has no codebook"),
        ({"kind": "codebook_features", "size": 4, "top": 8}, "'codebook_features': top is 8"),
        ({"kind": "vae", "kl": -1}, "'vae': kl is -1"),
        ({"kind": "none", "size": 1}, "'none': size is 1"),
    ],
)
def test_a_mistake_is_named_in_one_line(config, says):
    with pytest.raises(ConfigError, match=says) as caught:
        QUANTIZERS.build(config, channels=CHANNELS)
    assert "\n" not in str(caught.value)
