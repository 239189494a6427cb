"""Codebook features and the layer that puts them into a block; the controls that do not quantize; the semantic split."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.metaformer import Stack
from mixcodec.nn.quantizers import CodebookFeatures, NoBottleneck, SemanticSplit, Vae

SMALL = {"size": 32, "dim": 4, "metric": "euclidean"}


def test_features_are_the_entries_of_most_cosine_by_brute_force():
    quantizer = CodebookFeatures(6, size=40, top=5)
    z = torch.randn(3, 7, 6)
    similar = F.cosine_similarity(z[..., None, :].double(), quantizer.entries.double(), dim=-1)
    wanted = similar.sort(-1, descending=True).indices[..., :5]
    codes = quantizer.vectors_to_codes(z)
    assert torch.equal(codes, wanted)
    torch.testing.assert_close(quantizer.codes_to_vectors(codes[..., :3]), quantizer.entries[wanted[..., :3]].sum(-2))


def test_features_lose_the_square_error_and_pass_the_gradient_straight_through():
    quantizer = CodebookFeatures(6, size=40, top=5, commitment=0.5)
    z = torch.randn(3, 7, 6, requires_grad=True)
    quantized = quantizer(z)
    error = (quantizer.codes_to_vectors(quantized.codes) - z).square().mean() / z.square().mean()
    torch.testing.assert_close(quantized.loss, 1.5 * error)
    weight = torch.randn(3, 7, 6)
    (through,) = torch.autograd.grad((quantized.vectors * weight).sum(), z)
    assert torch.equal(through, weight)


def test_a_bottleneck_in_a_block_learns_by_the_loss_it_brings_along():
    stack = Stack(4, 4, 16, [{"mixer": "identity", "channel": {"kind": "bottleneck", "quantizer": {"kind": "vq", **SMALL}}}])
    layer = stack.blocks[0].channel
    x = torch.randn(2, 9, 4)
    torch.manual_seed(0)
    stack.eval()(x).sum().backward()
    got = [p.grad.clone() for p in layer.parameters()]
    stack.zero_grad()
    inside = {}
    layer.channel.register_forward_hook(lambda _, __, y: inside.update(y=y))
    y = stack(x)
    own = layer.quantizer(inside["y"].reshape(1, -1, 16))
    plain = type(layer).forward
    assert plain(layer, x.new_zeros(2, 16)).shape == (2, 16)
    stack.zero_grad()
    layer.weight = 0.0
    (stack(x).sum() + own.loss).backward()
    for one, other in zip(got, (p.grad for p in layer.parameters()), strict=True):
        torch.testing.assert_close(one, other)
    assert y.shape == x.shape


def test_codes_of_a_bottleneck_can_be_read_and_forced():
    layer = CHANNELS.build({"kind": "bottleneck", "quantizer": {"kind": "codebook_features", "size": 32, "top": 4}}, channels=8)
    x = torch.randn(2, 3, 5, 8)
    codes = layer.eval().codes(x)
    assert codes.shape == (2, 3, 5, 4)
    torch.testing.assert_close(layer(x), layer.force(codes))
    torch.testing.assert_close(layer.force(torch.tensor([[7]])), layer.quantizer.entries[7:8])


def test_forced_codes_of_a_trained_bottleneck_say_what_they_mean():
    """A machine of 6 states: the code that most often stands for a state makes the network name the state after it."""
    layer = CHANNELS.build({"kind": "bottleneck", "quantizer": {"kind": "codebook_features", "size": 24, "top": 1}}, channels=16)
    enter, head, following = torch.nn.Embedding(6, 16), torch.nn.Linear(16, 6), torch.tensor([3, 0, 5, 1, 2, 4])
    optimizer = torch.optim.Adam([*enter.parameters(), *head.parameters(), *layer.parameters()], 1e-2)
    for _ in range(200):
        state = torch.randint(6, (64,))
        loss = F.cross_entropy(head(layer(enter(state))), following[state])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codes = layer.codes(enter(torch.arange(6)))
    assert torch.equal(head(layer.force(codes)).argmax(-1), following)


def test_a_bottleneck_refuses_codes_that_span_tokens():
    with pytest.raises(ConfigError, match="'multi_scale'"):
        CHANNELS.build({"kind": "bottleneck", "quantizer": "multi_scale"}, channels=8)


def test_without_a_bottleneck_training_sees_the_vectors_and_a_file_fine_steps_of_them():
    quantizer = NoBottleneck(6, size=4096)
    z = 3 * torch.randn(2, 500, 6) + 1
    quantizer.start(z.flatten(0, 1))
    assert torch.equal(quantizer(z).vectors, z)
    step = 2 * quantizer.reach / 4095
    found = quantizer.codes_to_vectors(quantizer.eval().vectors_to_codes(z))
    assert ((found - z).abs() <= step / 2 + 1e-5).all()
    assert 10 * torch.log10(z.var() / (found - z).square().mean()) > 55


def test_what_is_stored_keeps_up_with_what_training_sees():
    quantizer = NoBottleneck(3)
    quantizer.start(torch.randn(100, 3))
    z = torch.randn(1, 50, 3)
    z[0, 3, 1] = 40
    z[0, 4, 2] = float("nan")
    quantizer(z)
    assert quantizer.reach[1] > 39
    assert quantizer.reach.isfinite().all()


def test_the_divergence_is_that_of_the_gaussians():
    quantizer = Vae(6, dim=4, kl=1.0)
    z = torch.randn(2, 9, 6)
    mean, log_variance = quantizer._posterior(z)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).sum(-1)
    torch.testing.assert_close(quantizer(z).loss, wanted.mean())
    torch.testing.assert_close(quantizer(z, torch.tensor([4, 0])).loss, wanted[0].mean())


def test_training_draws_from_the_posterior_and_encoding_does_not():
    quantizer = Vae(6, dim=4)
    quantizer.start(torch.randn(500, 6))
    z = torch.randn(1, 1, 6)
    with torch.no_grad():
        drawn = torch.cat([quantizer(z).vectors for _ in range(2000)])[:, 0]
        mean, log_variance = quantizer._posterior(z)
        wanted = quantizer.leave(mean)[0, 0]
        spread = ((quantizer.leave.weight**2) @ log_variance.exp()[0, 0]).sqrt()
    torch.testing.assert_close(drawn.mean(0), wanted, atol=5 * float(spread.max()) / 2000**0.5, rtol=0)
    torch.testing.assert_close(drawn.std(0), spread, rtol=0.1, atol=0)  # six standard errors
    quantizer.eval()
    assert torch.equal(quantizer(z).vectors, quantizer(z).vectors)


def test_truncation_keeps_the_principal_axes_of_the_means():
    torch.manual_seed(0)
    quantizer = Vae(10, dim=8)
    mix = torch.randn(10, 10) * 0.5 ** torch.arange(10)
    z = torch.randn(4000, 10) @ mix.T
    quantizer.truncate(z)
    quantizer.eval()
    means = quantizer._posterior(z)[0].detach().numpy()
    _, singular, axes = np.linalg.svd(means - means.mean(0), full_matrices=False)
    share = np.cumsum(singular**2) / (singular**2).sum()
    codes, errors = quantizer.vectors_to_codes(z), []
    for k in range(1, 9):
        wanted = means.mean(0) + (means - means.mean(0)) @ axes[:k].T @ axes[:k]
        got = quantizer._back(quantizer._read(codes[:, :k]))
        step = float(2 * quantizer.reach.max() / 255)
        np.testing.assert_allclose(got.numpy(), wanted, atol=0.5 * step * math.sqrt(8) + 1e-4)
        errors.append(float(np.square(got.numpy() - means).mean()))
    assert errors == sorted(errors, reverse=True)
    for fidelity in (0.5, 0.8, 0.95, 0.99):
        assert quantizer.dimensions(fidelity) == int(np.argmax(share >= fidelity - 1e-6)) + 1
    assert quantizer.dimensions(0.95) < 8
    with pytest.raises(ConfigError, match="fidelity is 0"):
        quantizer.dimensions(0)


@pytest.mark.parametrize("parallel", [True, False])
def test_the_split_is_the_sum_of_its_two_branches(parallel):
    quantizer = SemanticSplit(12, 4, parallel=parallel, codebook=SMALL)
    z = torch.randn(2, 50, 12)
    quantizer.start(z.flatten(0, 1))
    codes = quantizer.eval().vectors_to_codes(z)
    semantic = quantizer.semantic.codes_to_vectors(codes[..., :1])
    assert torch.equal(codes[..., :1], quantizer.semantic.vectors_to_codes(z))
    rest = quantizer.beside(z) if parallel else z - semantic
    vectors = semantic
    for k, level in enumerate(quantizer.levels):
        assert torch.equal(codes[..., k + 1 : k + 2], level.vectors_to_codes(rest))
        found = level.codes_to_vectors(codes[..., k + 1 : k + 2])
        rest, vectors = rest - found, vectors + found
    torch.testing.assert_close(quantizer.codes_to_vectors(codes), vectors)
    torch.testing.assert_close(quantizer(z).vectors, vectors)


def test_beside_another_the_acoustic_levels_see_other_directions():
    quantizer = SemanticSplit(12, 4, codebook=SMALL)
    z = torch.randn(800, 12) @ torch.diag(torch.linspace(3, 0.3, 12))
    quantizer.start(z)
    seen = quantizer.semantic.enter.weight
    assert (quantizer.beside(z) @ seen.T).std() < 1e-3


def test_a_teacher_makes_the_first_codebook_tell_its_classes():
    """Classes that show in quiet channels, beside loud ones that say nothing: the teacher's first codebook finds them."""
    world = torch.Generator().manual_seed(3)
    centres = torch.randn(8, 4, generator=world)

    def draw(count):
        label = torch.randint(8, (4, count))
        quiet = centres[label] + 0.2 * torch.randn(4, count, 4)
        return torch.cat([2.5 * torch.randn(4, count, 8), quiet], -1), label, F.one_hot(label, 8).float()

    told, errors = {}, {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        quantizer = SemanticSplit(12, 4, teacher=8, weight=weight, codebook=SMALL)
        quantizer.start(draw(500)[0].flatten(0, 1))
        optimizer = torch.optim.Adam(quantizer.parameters(), 2e-2)
        for _ in range(300):
            z, _, teacher = draw(64)
            teacher.requires_grad_()
            quantized = quantizer(z, teacher=teacher)
            optimizer.zero_grad()
            ((quantized.vectors - z).square().mean() + quantized.loss).backward()
            optimizer.step()
        assert teacher.grad is None
        z, label, _ = draw(1000)
        codes = quantizer.eval().vectors_to_codes(z)
        table = torch.zeros(32, 8).index_put_((codes[..., 0].flatten(), label.flatten()), torch.ones(4000), accumulate=True)
        told[weight] = table.max(1).values.sum() / 4000
        errors[weight] = (quantizer.codes_to_vectors(codes) - z).square().mean() / z.square().mean()
    assert told[10.0] > 0.8
    assert told[0.0] < 0.5
    assert errors[10.0] < 1.3 * errors[0.0]


def test_a_teacher_of_another_width_is_an_error():
    z = torch.randn(2, 5, 12)
    with pytest.raises(ConfigError, match=r"teacher is 8, .* \(2, 5, 7\)"):
        SemanticSplit(12, 4, teacher=8, codebook=SMALL)(z, teacher=torch.randn(2, 5, 7))
    with pytest.raises(ConfigError, match="teacher is 0"):
        SemanticSplit(12, 4, codebook=SMALL)(z, teacher=torch.randn(2, 5, 7))
