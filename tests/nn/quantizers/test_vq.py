import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers import QUANTIZERS, Residual, Vq
from mixcodec.nn.quantizers.search import k_means, nearest_entries

CHANNELS = 12


def build(kind, metric="cosine"):
    torch.manual_seed(0)
    options = {"size": 32, "dim": 4, "metric": metric}
    config = {"kind": "residual", "codebooks": 3, "codebook": options} if kind == "residual" else {"kind": kind, **options}
    return QUANTIZERS.build(config, channels=CHANNELS)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_nearest_entry_is_the_nearest_by_brute_force(metric):
    x, entries = torch.randn(50, 4), torch.randn(32, 4)
    if metric == "cosine":
        entries = F.normalize(entries, dim=-1)
        distance = 1 - F.cosine_similarity(x[:, None], entries[None], dim=-1)
    else:
        distance = (x[:, None] - entries[None]).norm(dim=-1)
    assert torch.equal(nearest_entries(x, entries, metric), distance.argmin(1))


@pytest.mark.parametrize("kind", ["vq", "residual"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_codes_and_vectors_agree(kind, metric):
    quantizer = build(kind, metric).eval()
    z = torch.randn(2, 9, CHANNELS)
    codes, vectors, loss, usage = quantizer(z)
    assert codes.shape == (2, 9, quantizer.codebooks)
    assert torch.equal(codes, quantizer.vectors_to_codes(z))
    assert torch.allclose(vectors, quantizer.codes_to_vectors(codes), atol=1e-5)
    assert loss.ndim == 0
    assert usage.shape == (quantizer.codebooks,)
    assert ((usage > 0) & (usage <= 1)).all()


def test_with_cosine_only_the_direction_counts():
    quantizer = build("vq", "cosine").eval()
    with torch.no_grad():
        quantizer.enter.bias.zero_()
    z = torch.randn(2, 9, CHANNELS)
    assert torch.equal(quantizer.vectors_to_codes(z), quantizer.vectors_to_codes(7 * z))
    assert torch.allclose(quantizer.entries.norm(dim=1), torch.ones(32), atol=1e-5)


@pytest.mark.parametrize("kind", ["vq", "residual"])
def test_gradients_reach_what_came_in(kind):
    quantizer = build(kind)
    z = torch.randn(2, 9, CHANNELS, requires_grad=True)
    quantizer(z).vectors.sum().backward()
    assert z.grad.abs().sum() > 0


def test_fewer_codebooks_are_a_prefix():
    quantizer = build("residual").eval()
    z = torch.randn(3, 9, CHANNELS)
    codes = quantizer.vectors_to_codes(z)
    quantized = quantizer(z, torch.tensor([1, 2, 3]))
    for item, k in enumerate([1, 2, 3]):
        assert torch.allclose(quantized.vectors[item], quantizer.codes_to_vectors(codes[item, :, :k]), atol=1e-5)


def test_fitted_levels_lower_the_error_one_by_one():
    quantizer = Residual(CHANNELS, 4, {"size": 64, "dim": 6, "metric": "euclidean"}).eval()
    z = torch.randn(4000, CHANNELS) @ torch.randn(CHANNELS, CHANNELS)
    quantizer.start(z)
    codes = quantizer.vectors_to_codes(z[None])
    errors = [z.square().mean().item()]
    errors += [(quantizer.codes_to_vectors(codes[..., :k])[0] - z).square().mean().item() for k in range(1, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_k_means_finds_separate_clusters():
    centres = torch.randn(8, 4) * 10
    x = (centres[:, None] + 0.1 * torch.randn(8, 100, 4)).flatten(0, 1)
    found = k_means(x, 16, "euclidean", rounds=20)
    assert torch.cdist(centres, found).min(1).values.max() < 0.5


def test_training_moves_entries_to_the_mean_of_what_they_stand_for():
    quantizer = Vq(CHANNELS, size=4, dim=2, metric="euclidean", decay=0.5, restart=0)
    quantizer.start(torch.randn(500, CHANNELS))
    z = torch.randn(1, 400, CHANNELS)
    for _ in range(40):
        before = quantizer.entries.clone()
        code = quantizer(z).codes[0, :, 0]
    x = quantizer.enter(z)[0].detach()
    means = torch.stack([x[code == i].mean(0) for i in range(4)])
    assert torch.allclose(before, means, atol=0.05)


def test_a_dead_code_is_restarted_and_without_restart_is_not():
    for restart in (0.1, 0.0):
        quantizer = Vq(CHANNELS, size=32, dim=4, metric="euclidean", decay=0.5, restart=restart, restart_every=5)
        with torch.no_grad():
            quantizer.entries[1:] += 100
            quantizer.total[1:] += 100
        z = torch.randn(4, 200, CHANNELS)
        for _ in range(60):
            codes = quantizer(z).codes
        assert (len(codes.unique()) > 28) if restart else (len(codes.unique()) == 1)


def test_nothing_is_learned_in_evaluation():
    quantizer = build("vq").eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 50, CHANNELS))
    assert all(torch.equal(v, before[k]) for k, v in quantizer.state_dict().items())


def test_bad_options_are_errors():
    with pytest.raises(ConfigError, match="metric"):
        Vq(CHANNELS, metric="manhattan")
    with pytest.raises(ConfigError, match="one code"):
        Residual(CHANNELS, 2, {"kind": "residual"})
