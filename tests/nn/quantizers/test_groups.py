"""What the kinds that split the channels do with them, and the frozen bank with features."""

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers import FrozenBank, GroupResidual, MaskedResidual, Residual

CODEBOOK = {"size": 16, "dim": 3, "metric": "euclidean"}


def test_groups_take_turns_level_by_level():
    quantizer = GroupResidual(12, 6, 3, CODEBOOK).eval()
    z = torch.randn(2, 7, 12)
    codes = quantizer.vectors_to_codes(z)
    for g, (group, part) in enumerate(zip(quantizer.groups, z.split(4, -1), strict=True)):
        assert torch.equal(codes[..., g::3], group.vectors_to_codes(part))
        torch.testing.assert_close(quantizer.codes_to_vectors(codes)[..., 4 * g : 4 * g + 4], quantizer.groups[g](part).vectors)
    two = quantizer.codes_to_vectors(codes[..., :2])
    assert two[..., :8].any()
    assert not two[..., 8:].any()
    assert quantizer(z).usage.shape == (6,)


def test_one_group_is_a_residual():
    torch.manual_seed(0)
    group = GroupResidual(12, 4, 1, CODEBOOK).eval()
    torch.manual_seed(0)
    residual = Residual(12, 4, CODEBOOK).eval()
    z = torch.randn(2, 7, 12)
    active = torch.tensor([2, 4])
    for one, other in zip(group(z, active), residual(z, active), strict=True):
        torch.testing.assert_close(one, other)
    codes = group.vectors_to_codes(z)
    torch.testing.assert_close(group.codes_to_vectors(codes), residual.codes_to_vectors(codes))


def test_masked_codebooks_see_their_channels_only():
    quantizer = MaskedResidual(11, 6, 3, CODEBOOK).eval()
    z = torch.randn(2, 7, 11)
    codes = quantizer.vectors_to_codes(z)
    other = z.clone()
    other[..., 4:8] += 5  # the second slice of 4, 4 and 3 channels
    changed = quantizer.vectors_to_codes(other) != codes
    assert not changed[..., [0, 2]].any()
    assert changed[..., 1].any()
    assert not quantizer.codes_to_vectors(codes[..., :2])[..., 8:].any()
    left = z - quantizer.codes_to_vectors(codes[..., :3])
    assert torch.equal(codes[..., 3:], quantizer.rest.vectors_to_codes(left))


def test_masked_codebooks_share_what_the_first_of_a_residual_holds():
    z = torch.randn(4000, 12) @ torch.diag(torch.linspace(2, 0.5, 12))[:, torch.randperm(12)]
    first = {}
    for kind in (Residual, MaskedResidual):
        quantizer = kind(12, 6, codebook=CODEBOOK).eval()
        quantizer.start(z)
        codes = quantizer.vectors_to_codes(z)
        errors = [(quantizer.codes_to_vectors(codes[:, :k]) - z).square().mean() for k in (1, 6)]
        before = z.square().mean()
        first[kind] = (before - errors[0]) / (before - errors[1])
    assert first[MaskedResidual] < 0.8 * first[Residual]


@pytest.mark.parametrize("fit", ["sample", "k-means"])
def test_a_bank_is_made_of_features(fit):
    quantizer = FrozenBank(12, 64, 4, features=20, fit=fit)
    seen = torch.randn(500, 20)
    quantizer.fill(seen)
    among = (quantizer.bank[:, None] == seen).all(-1).any(-1)
    assert among.all() if fit == "sample" else among.float().mean() < 0.5
    bank = quantizer.bank.clone()
    quantizer.start(torch.randn(300, 12))
    assert torch.equal(quantizer.bank, bank)
    assert len(quantizer.eval().vectors_to_codes(torch.randn(2000, 12)).unique()) > 32


def test_a_bank_without_filling_is_made_of_latents():
    quantizer = FrozenBank(12, 64, 4)
    z = torch.randn(500, 12)
    quantizer.start(z)
    assert (quantizer.bank[:, None] == z).all(-1).any(-1).all()
    assert torch.equal(quantizer.vectors_to_codes(quantizer.bank)[:, 0], torch.arange(64))


@pytest.mark.parametrize(("shape", "says"), [((50, 12), "only 50 vectors"), ((100, 10), r"shape \(100, 10\)"), ((100,), "shape")])
def test_a_bank_needs_enough_of_its_features(shape, says):
    with pytest.raises(ConfigError, match=says):
        FrozenBank(12, 64, 4).fill(torch.randn(shape))
