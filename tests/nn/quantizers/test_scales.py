"""Kinds whose codes stand for several frames, and quantizer dropout: against loops over the frames."""

import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import export_folder
from mixcodec.nn.quantizers import Dropout, MergedResidual, MultiScale, Residual, TailDrop
from mixcodec.nn.quantizers.multi_scale import means_of_groups

CODEBOOK = {"size": 32, "dim": 4, "metric": "euclidean"}


def slow(batch, frames, channels=12):
    """Vectors whose first channels change ten times as slowly as the last."""
    rate = torch.linspace(0.02, 0.9, channels)
    steps = torch.randn(batch, frames, channels) * (1 - (1 - rate) ** 2) ** 0.5
    z = [steps[:, 0]]
    for t in range(1, frames):
        z.append((1 - rate) * z[-1] + steps[:, t])
    return torch.stack(z, 1)


@pytest.mark.parametrize("frames", [1, 3, 4, 8, 11])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_mean_is_over_the_frames_that_are_there(frames, stride):
    x = torch.randn(2, frames, 5)
    wanted = torch.stack([part.mean(1) for part in x.split(stride, 1)], 1)
    torch.testing.assert_close(means_of_groups(x, stride), wanted)
    torch.testing.assert_close(means_of_groups(x[0], stride), wanted[0])


@pytest.mark.parametrize("kind", [MultiScale, MergedResidual])
def test_levels_quantize_the_means_of_what_is_left(kind):
    quantizer = kind(12, [4, 2, 1], CODEBOOK)
    quantizer.start(slow(1, 400)[0])
    quantizer.eval()
    z = slow(2, 11)
    codes, rest = quantizer.vectors_to_codes(z), z.clone()
    for k, (level, stride) in enumerate(zip(quantizer.levels, [4, 2, 1], strict=True)):
        for b in range(2):
            for first in range(0, 11, stride):
                group = slice(first, min(first + stride, 11))
                code = level.vectors_to_codes(rest[b, group].mean(0, keepdim=True))
                assert (codes[b, group, k] == code[0, 0]).all()
                rest[b, group] -= level.codes_to_vectors(code)
    torch.testing.assert_close(quantizer.codes_to_vectors(codes), z - rest, atol=1e-5, rtol=1e-5)


def test_equal_frame_rates_are_a_residual():
    torch.manual_seed(0)
    scales = MultiScale(12, [1, 1, 1], CODEBOOK).eval()
    torch.manual_seed(0)
    residual = Residual(12, 3, CODEBOOK).eval()
    z, active = torch.randn(2, 7, 12), torch.tensor([2, 3])
    for one, other in zip(scales(z, active), residual(z, active), strict=True):
        assert torch.equal(one, other)


def test_merging_takes_the_weights_of_a_residual_and_costs_little_where_little_changes():
    z = slow(8, 400)
    residual = Residual(12, 4, CODEBOOK)
    residual.start(z.flatten(0, 1))
    merged = MergedResidual(12, [2, 1, 1, 1], CODEBOOK)
    merged.load_state_dict(residual.state_dict())
    training = merged(z)
    assert torch.equal(training.codes, Residual.forward(residual, z).codes)
    residual.eval()
    merged.eval()
    errors = [(q.codes_to_vectors(q.vectors_to_codes(z)) - z).square().mean() for q in (residual, merged)]
    codes = merged.vectors_to_codes(z)[..., 0]
    assert torch.equal(codes[:, ::2], codes[:, 1::2])
    assert errors[1] < z.square().mean() / 2
    assert errors[0] < errors[1] < 2 * errors[0]


def test_slow_codebooks_pay_where_what_is_to_be_said_is_slow():
    z = slow(8, 400)
    z[..., 6:] *= 0.1
    rates, errors = [], []
    for strides in ([4, 4, 1], [1, 2, 4]):  # 15 and 17.5 bits a frame
        quantizer = MultiScale(12, strides, {"size": 1024, "dim": 6, "metric": "euclidean"})
        quantizer.start(z.flatten(0, 1))
        vectors = quantizer.eval().codes_to_vectors(quantizer.vectors_to_codes(z))
        rates.append(sum(10 / stride for stride in quantizer.strides))
        errors.append((vectors - z).square().mean())
    assert rates == [15, 17.5]
    assert errors[0] < z.square().mean() / 4


def test_tokens_of_a_group_are_its_linear_map_and_the_way_back():
    quantizer = TailDrop(6, frames=3, tokens=5, dim=2, codebook={**CODEBOOK, "dim": 2}).eval()
    z = torch.randn(2, 7, 6)
    codes = quantizer.vectors_to_codes(z)
    padded = torch.cat([z, z[:, -1:], z[:, -1:]], 1)
    for b in range(2):
        for group in range(3):
            x = (quantizer.enter.weight @ padded[b, 3 * group : 3 * group + 3].flatten() + quantizer.enter.bias).view(5, 2)
            assert torch.equal(codes[b, 3 * group], quantizer.codebook.vectors_to_codes(x)[:, 0])
            for kept in range(1, 6):
                found = quantizer.codebook.codes_to_vectors(codes[b, 3 * group, :, None])
                found = torch.where(torch.arange(5)[:, None] < kept, found, 0.0)
                wanted = (quantizer.leave.weight @ found.flatten() + quantizer.leave.bias).view(3, 6)
                got = quantizer.codes_to_vectors(codes[b : b + 1, :, :kept])[0, 3 * group : 3 * group + 3]
                torch.testing.assert_close(got, wanted[: len(got)])


def test_a_tail_that_is_dropped_in_training_is_missed_less():
    """A quarter of the tokens of a quantizer trained with the drop, against a quarter of one trained without."""
    quarter, whole = {}, {}
    for drop in (0.0, 0.5):
        torch.manual_seed(1)
        quantizer = TailDrop(12, frames=4, tokens=8, dim=4, drop=drop, codebook={**CODEBOOK, "size": 128})
        optimizer = torch.optim.Adam(quantizer.parameters(), 1e-2)
        for _ in range(400):
            z = slow(16, 32)
            quantized = quantizer(z)
            optimizer.zero_grad()
            ((quantized.vectors - z).square().mean() + quantized.loss).backward()
            optimizer.step()
        quantizer.eval()
        z = slow(64, 32)
        codes = quantizer.vectors_to_codes(z)
        quarter[drop], whole[drop] = [(quantizer.codes_to_vectors(codes[..., :k]) - z).square().mean() for k in (2, 8)]
    assert quarter[0.5] < 0.93 * quarter[0.0]
    assert whole[0.5] < 1.1 * whole[0.0]


def test_dropout_draws_for_some_items_and_only_in_training():
    quantizer = Dropout(12, {"kind": "residual", "codebooks": 4, "codebook": CODEBOOK}, probability=0.5, least=2)
    z = torch.randn(1, 5, 12).expand(2000, -1, -1)
    with torch.no_grad():
        steps = [quantizer.quantizer(z[:1], torch.tensor([k])).vectors for k in range(5)]
        vectors = quantizer(z).vectors
        used = torch.stack([(vectors - step).square().sum((1, 2)) for step in steps], 1).argmin(1)
        share = torch.bincount(used, minlength=5) / 2000
        torch.testing.assert_close(share, torch.tensor([0, 0, 1 / 6, 1 / 6, 2 / 3]), atol=0.05, rtol=0)  # 4 standard errors
        given = torch.full((2000,), 1)
        torch.testing.assert_close(quantizer(z, given).vectors, steps[1].expand(2000, -1, -1))
        torch.testing.assert_close(quantizer.eval()(z).vectors, steps[4].expand(2000, -1, -1))


def test_dropout_keeps_the_strides_of_what_it_wraps():
    assert Dropout(12, {"kind": "multi_scale", "strides": [4, 2, 1]}).strides == (4, 2, 1)
    assert Dropout(12, {"kind": "multi_scale", "strides": [6, 4]}).stride == 12


def test_a_dropout_of_one_codebook_at_the_least_needs_that_many():
    with pytest.raises(ConfigError, match="least is 3"):
        Dropout(12, {"kind": "residual", "codebooks": 2, "codebook": CODEBOOK}, least=3)


@pytest.mark.parametrize("kind", ["multi_scale", "tail_drop"])
def test_a_codec_whose_codes_span_frames_is_not_exported_as_one_that_streams(codec_config, tmp_path, kind):
    net = CodecNet(codec_config | {"quantizer": kind})
    with pytest.raises(ConfigError, match=r"span up to \d frames"):
        export_folder(net, tmp_path / "model", "spans", "card")
    assert not (tmp_path / "model").exists()
