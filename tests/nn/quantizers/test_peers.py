"""The same weights give the same codes in vector-quantize-pytorch."""

import pytest
import torch
import vector_quantize_pytorch as peer

from mixcodec.nn.quantizers import FrozenBank, Fsq, GroupResidual, Lfq, MultiScale, Reduced, Residual, SimVq, Vq, VqGradient

DIM = 6
CODEBOOK = {"size": 32, "dim": DIM, "metric": "euclidean"}


def bare(quantizer, scale=1.0):
    """The quantizer with nothing but a scale on the way in, and its inverse on the way out."""
    with torch.no_grad():
        quantizer.enter.weight.copy_(torch.eye(quantizer.dim) / scale)
        quantizer.leave.weight.copy_(torch.eye(quantizer.dim) * scale)
        quantizer.enter.bias.zero_()
        quantizer.leave.bias.zero_()
    return quantizer.eval()


def agree(quantizer, other, z):
    vectors, codes = other.eval()(z)[:2]
    own = quantizer.vectors_to_codes(z)
    assert torch.equal(own, codes.view(own.shape).long())
    torch.testing.assert_close(quantizer.codes_to_vectors(own), vectors, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_vq(metric):
    quantizer = bare(Vq(DIM, **CODEBOOK | {"metric": metric}))
    other = peer.VectorQuantize(dim=DIM, codebook_size=32, use_cosine_sim=metric == "cosine")
    other._codebook.embed.copy_(quantizer.entries[None])
    agree(quantizer, other, torch.randn(2, 50, DIM))


def test_vq_gradient():
    quantizer = bare(VqGradient(DIM, **CODEBOOK))
    torch.nn.init.normal_(quantizer.entries)
    other = peer.VectorQuantize(dim=DIM, codebook_size=32, learnable_codebook=True, ema_update=False)
    other._codebook.embed.data.copy_(quantizer.entries.data[None])
    agree(quantizer, other, torch.randn(2, 50, DIM))


def test_simvq_and_its_loss():
    quantizer = bare(SimVq(DIM, **CODEBOOK))
    torch.nn.init.zeros_(quantizer.linear.bias)
    other = peer.SimVQ(dim=DIM, codebook_size=32)
    other.frozen_codebook.copy_(quantizer.basis)
    other.code_transform.weight.data.copy_(quantizer.linear.weight.data)
    z = torch.randn(2, 50, DIM)
    agree(quantizer, other, z)
    scale = quantizer.table().square().mean()
    torch.testing.assert_close(quantizer(z).loss * scale, other(z)[2])


@pytest.mark.parametrize("levels", [[8, 5, 5, 5], [3, 4, 7], [16]])
def test_fsq(levels):
    agree(bare(Fsq(len(levels), levels)), peer.FSQ(levels), 2 * torch.randn(2, 200, len(levels)))


def test_residual_fsq():
    levels = [8, 5, 5]
    quantizer, other = Residual(3, 3, {"kind": "fsq", "levels": levels}), peer.FSQ(levels)
    z = torch.randn(2, 50, 3)
    rest, wanted = z, []
    for k, level in enumerate(quantizer.levels):
        scale = torch.tensor(levels) ** -float(k)
        bare(level, scale)
        vectors, codes = other(rest / scale)
        rest = rest - vectors * scale
        wanted.append(codes)
    assert torch.equal(quantizer.vectors_to_codes(z), torch.stack(wanted, -1).long())
    torch.testing.assert_close(quantizer.codes_to_vectors(quantizer.vectors_to_codes(z)), z - rest)


def test_lfq_and_its_loss():
    quantizer, other = bare(Lfq(DIM, 1 << DIM)), peer.LFQ(codebook_size=1 << DIM, dim=DIM, commitment_loss_weight=0.25)
    z = torch.randn(2, 50, DIM)
    agree(quantizer, other, z)
    torch.testing.assert_close(quantizer(z).loss, other.train()(z, inv_temperature=100.0).entropy_aux_loss, rtol=1e-3, atol=1e-4)


def test_residual():
    quantizer = Residual(DIM, 3, CODEBOOK).eval()
    other = peer.ResidualVQ(dim=DIM, codebook_size=32, num_quantizers=3)
    for level, layer in zip(quantizer.levels, other.layers, strict=True):
        layer._codebook.embed.copy_(bare(level).entries[None])
    agree(quantizer, other, torch.randn(2, 50, DIM))


def test_group_residual():
    quantizer = GroupResidual(2 * DIM, 6, 2, CODEBOOK).eval()
    other = peer.GroupedResidualVQ(dim=2 * DIM, codebook_size=32, num_quantizers=3, groups=2).eval()
    for group, rvq in zip(quantizer.groups, other.rvqs, strict=True):
        for level, layer in zip(group.levels, rvq.layers, strict=True):
            layer._codebook.embed.copy_(bare(level).entries[None])
    z = torch.randn(2, 50, 2 * DIM)
    vectors, codes = other(z)[:2]  # codes (groups, B, T, levels)
    own = quantizer.vectors_to_codes(z)
    assert torch.equal(own, codes.permute(1, 2, 3, 0).flatten(-2))
    torch.testing.assert_close(quantizer.codes_to_vectors(own), vectors, atol=1e-5, rtol=1e-5)


def test_residual_simvq():
    quantizer = Residual(DIM, 3, {"kind": "simvq", **CODEBOOK}).eval()
    other = peer.ResidualSimVQ(dim=DIM, codebook_size=32, num_quantizers=3)
    for level, layer in zip(quantizer.levels, other.layers, strict=True):
        torch.nn.init.zeros_(bare(level).linear.bias)
        layer.frozen_codebook.copy_(level.basis)
        layer.code_transform.weight.data.copy_(level.linear.weight.data)
    agree(quantizer, other, torch.randn(2, 50, DIM))


def test_a_multi_scale_of_equal_rates():
    quantizer = MultiScale(DIM, [1, 1, 1], CODEBOOK).eval()
    other = peer.ResidualVQ(dim=DIM, codebook_size=32, num_quantizers=3)
    for level, layer in zip(quantizer.levels, other.layers, strict=True):
        layer._codebook.embed.copy_(bare(level).entries[None])
    agree(quantizer, other, torch.randn(2, 50, DIM))


def test_the_whole_of_a_reduced_codebook():
    quantizer = Reduced(DIM, 5, CODEBOOK).eval()
    bare(quantizer.codebook)
    quantizer.reduce()
    other = peer.VectorQuantize(dim=DIM, codebook_size=32).eval()
    other._codebook.embed.copy_(quantizer.codebook.entries[None])
    z = torch.randn(2, 50, DIM)
    vectors, codes = other(z)[:2]
    digits = quantizer.vectors_to_codes(z)
    assert torch.equal(quantizer.order[(digits * torch.tensor([16, 8, 4, 2, 1])).sum(-1)], codes)
    torch.testing.assert_close(quantizer.codes_to_vectors(digits), vectors)


def test_frozen_bank():
    quantizer = bare(FrozenBank(DIM, **CODEBOOK, features=9))
    other = peer.VectorQuantize(dim=DIM, codebook_size=32).eval()
    with torch.no_grad():
        other._codebook.embed.copy_(quantizer.projector(quantizer.bank)[None])
    agree(quantizer, other, torch.randn(2, 50, DIM))
