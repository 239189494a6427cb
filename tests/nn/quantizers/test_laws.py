"""What holds for every quantizer, whatever its family (mixcodec.testing)."""

import datetime

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers import QUANTIZERS, FrozenBank, SimVq, Vq
from mixcodec.nn.quantizers.lookup import Lookup
from mixcodec.testing import quantizers as laws
from mixcodec.testing.quantizers import Case

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
    return Case({}, CHANNELS).features(count)


def case(name):
    return Case(CASES[name], CHANNELS)


def build(name, started=True):
    return case(name).build(started)


SEVERAL = [name for name in CASES if build(name, False).codebooks > 1]
every = pytest.mark.parametrize("name", CASES)


def test_every_kind_is_held_to_the_laws():
    assert {config["kind"] for config in CASES.values()} == set(QUANTIZERS.kinds())


@every
@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_laws(law, name):
    law(case(name))


@every
@pytest.mark.parametrize("started", [False, True])
def test_codes_and_vectors_agree(name, started):
    laws.codes_and_vectors_agree(case(name), started)


@every
@pytest.mark.parametrize("dtype", laws.DTYPES)
def test_a_model_of_another_precision_changes_no_code(name, dtype):
    laws.another_precision_changes_no_code(case(name), dtype)


@pytest.mark.parametrize("name", SEVERAL)
def test_another_codebook_does_not_raise_the_error_on_what_the_codebooks_were_fitted_to(name):
    laws.another_codebook_does_not_raise_the_error(case(name))


@every
def test_what_should_not_learn_does_not(name):
    quantizer = build(name, started=False)
    quantized = quantizer(features(2000).view(10, 200, CHANNELS).requires_grad_())
    (quantized.vectors.square().mean() + quantized.loss).backward()
    frozen = {k: v.clone() for k, v in quantizer.state_dict().items() if k.rpartition(".")[2] in FROZEN}
    assert len(frozen) == sum(isinstance(part, SimVq | FrozenBank) for part in quantizer.modules())
    if name not in WITHOUT_WEIGHTS:
        torch.optim.SGD(quantizer.parameters(), 0.1).step()
    assert all(torch.equal(quantizer.state_dict()[k], v) for k, v in frozen.items())


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_WEIGHTS])
def test_it_learns(name):
    laws.learns(case(name))


@pytest.mark.parametrize("name", [name for name in CASES if name not in SEVERAL])
def test_the_gradient_goes_straight_through(name):
    quantizer = build(name)
    z = features(30).view(3, 10, CHANNELS).requires_grad_()
    weight = torch.randn(3, 10, CHANNELS)
    (through,) = torch.autograd.grad((quantizer(z).vectors * weight).sum(), z)
    (around,) = torch.autograd.grad((quantizer.leave(quantizer._inside(z)) * weight).sum(), z)
    torch.testing.assert_close(through, around)


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


@pytest.fixture(scope="module")
def exported():
    """What one graph with all quantizers makes of features, beside what torch makes of them: by name."""
    found = laws.exported([build(name).eval() for name in CASES], case("vq"))
    return dict(zip(CASES, found, strict=True))


@every
def test_the_exported_graph_finds_the_same(name, exported):
    laws.graph_agrees(exported[name])


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
