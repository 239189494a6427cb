"""Codes that are arithmetic: fsq, lfq, scalar."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.nn.quantizers import Fsq, Lfq, Scalar
from mixcodec.nn.quantizers.lfq import entropies

LEVELS = st.lists(st.integers(3, 9), min_size=1, max_size=4)


def bare(quantizer):
    """The quantizer with nothing done on the way in and out."""
    with torch.no_grad():
        for linear in (quantizer.enter, quantizer.leave):
            torch.nn.init.eye_(linear.weight)
            linear.bias.zero_()
    return quantizer.eval()


@settings(max_examples=30, deadline=None)
@given(LEVELS)
def test_fsq_codes_are_the_mixed_radix_numbers_of_the_grid(levels):
    quantizer = bare(Fsq(len(levels), levels))
    values = quantizer.codes_to_vectors(torch.arange(quantizer.size)[:, None])
    digits = [range(n) for n in reversed(levels)]  # the first number counts fastest
    wanted = [[(d - n // 2) / (n // 2) for d, n in zip(reversed(c), levels, strict=True)] for c in itertools.product(*digits)]
    torch.testing.assert_close(values, torch.tensor(wanted))
    half = torch.tensor([(n - 1) / 2 for n in levels])
    odd = torch.tensor([n % 2 == 1 for n in levels])
    if odd.all():  # then what tanh takes to a grid point comes back as its code
        x = torch.atanh((values * half / (half * 1.001)).clamp(-0.9999, 0.9999))
        assert torch.equal(quantizer.vectors_to_codes(x)[:, 0], torch.arange(quantizer.size))


@settings(max_examples=30, deadline=None)
@given(LEVELS, st.floats(-50, 50), st.integers(0, 3))
def test_fsq_rounds_each_number_by_itself(levels, number, where):
    where %= len(levels)
    quantizer = bare(Fsq(len(levels), levels))
    x = torch.zeros(1, len(levels))
    x[0, where] = number
    n = levels[where]
    bound, offset = (n - 1) * 1.001 / 2, 0.5 * (n % 2 == 0)
    wanted = math.tanh(number + math.atanh(offset / bound)) * bound - offset
    value = quantizer.codes_to_vectors(quantizer.vectors_to_codes(x))[0]
    assert abs(value[where] * (n // 2) - wanted) <= 0.5 + 1e-3
    assert not value[torch.arange(len(levels)) != where].any()


def test_fsq_reaches_both_ends():
    quantizer = bare(Fsq(2, [8, 5]))
    assert quantizer.vectors_to_codes(torch.tensor([[-99.0, -99.0], [99.0, 99.0]]))[:, 0].tolist() == [0, 39]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8))
def test_lfq_codes_are_the_binary_numbers_of_the_signs(bits):
    quantizer = bare(Lfq(bits, 1 << bits))
    every = torch.arange(1 << bits)[:, None]
    wanted = [[1.0 if digit == "1" else -1.0 for digit in f"{code:0{bits}b}"] for code in range(1 << bits)]
    vectors = quantizer.codes_to_vectors(every)
    assert vectors.tolist() == wanted
    assert torch.equal(quantizer.vectors_to_codes(vectors * torch.rand(1 << bits, bits).add(0.01)), every)


@pytest.mark.parametrize("bits", [1, 4, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_lfq_entropies_are_those_over_all_corners(bits, temperature):
    x = torch.randn(40, bits, dtype=torch.float64)
    weight = torch.rand(40, dtype=torch.float64)
    weight /= weight.sum()
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=bits)), dtype=torch.float64)
    p = torch.softmax(-(x[:, None] - corners).square().sum(-1) / temperature, -1)
    each, mean = entropies(x, weight, temperature)
    assert each.item() == pytest.approx((-(torch.special.xlogy(p, p)).sum(-1) @ weight).item(), rel=1e-6, abs=1e-9)
    q = weight @ p
    assert mean.item() == pytest.approx(-torch.special.xlogy(q, q).sum().item(), rel=1e-5)


def test_lfq_loss_prefers_sure_frames_and_even_use():
    quantizer = bare(Lfq(3, 8, commitment=0.0, temperature=1.0))
    corners = quantizer.codes_to_vectors(torch.arange(8)[:, None])[None]
    even, one, unsure = quantizer(corners * 3).loss, quantizer(corners[:, :1] * 3).loss, quantizer(corners * 0.1).loss
    assert even.item() == pytest.approx(-0.1 * math.log(8), abs=1e-3)
    assert one.item() == pytest.approx(0, abs=1e-3)
    assert unsure.item() == pytest.approx(0, abs=1e-2)
    assert even < one


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.floats(-5, 5))
def test_scalar_takes_the_nearest_of_even_steps(size, number):
    quantizer = bare(Scalar(1, 1, size))
    x = torch.tensor([[number]])
    code = quantizer.vectors_to_codes(x)
    values = torch.linspace(-1, 1, size)
    torch.testing.assert_close(quantizer.codes_to_vectors(torch.arange(size)[:, None])[:, 0], values)
    distance = (values - math.tanh(number)).abs()
    assert distance[code.item()] <= distance.min() + 1e-5


def test_scalar_with_an_odd_size_is_a_rounded_tanh():
    quantizer = bare(Scalar(4, 4, 2 * 9 + 1))
    x = torch.randn(100, 4)
    torch.testing.assert_close(quantizer.codes_to_vectors(quantizer.vectors_to_codes(x)), (9 * torch.tanh(x)).round() / 9)


@pytest.mark.parametrize("quantizer", [Fsq(6, [8, 5, 5]), Lfq(6, 64), Scalar(6, 4, 9)], ids=lambda q: type(q).__name__)
def test_a_start_puts_all_codes_to_use_whatever_the_scale_of_the_features(quantizer):
    quantizer.start(100 * torch.randn(4000, 6) @ torch.diag(torch.linspace(1, 3, 6)) + 500)
    assert quantizer.usage().min() > 0.8
