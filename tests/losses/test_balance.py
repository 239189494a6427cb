"""The balancer: each loss pulls as its weight says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.losses import Balancer


def losses(wave: torch.Tensor, scales: dict[str, float]) -> dict[str, torch.Tensor]:
    """Three losses that pull at different samples, so that their gradients do not mix."""
    thirds = dict(zip("abc", wave.chunk(3, 1), strict=True))
    return {name: scales[name] * (thirds[name] - 1).square().sum() for name in scales}


@given(scales=st.lists(st.floats(1e-4, 1e4), min_size=3, max_size=3), norm=st.floats(0.1, 10))
def test_lengths_are_the_weights_whatever_the_scales(scales: list[float], norm: float) -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 5.0}
    balancer = Balancer(weights, norm=norm)
    wave = torch.randn(2, 12).requires_grad_()
    for _ in range(3):  # of a loss that stays as it is, the average is its length
        gradient = balancer.gradient(losses(wave, dict(zip("abc", scales, strict=True))), wave)
    for name, pull in zip("abc", gradient.chunk(3, 1), strict=True):
        assert float(pull.norm()) == pytest.approx(norm * weights[name] / 8, rel=1e-3)


def test_the_direction_is_that_of_the_losses() -> None:
    wave = torch.randn(2, 12).requires_grad_()
    found = losses(wave, {"a": 3.0, "b": 1.0, "c": 0.5})
    wanted = torch.autograd.grad(sum(found.values()), wave, retain_graph=True)[0]
    gradient = Balancer({"a": 1.0, "b": 1.0, "c": 1.0}).gradient(found, wave)
    for ours, theirs in zip(gradient.chunk(3, 1), wanted.chunk(3, 1), strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), 0) == pytest.approx(1, abs=1e-5)


def test_an_absent_loss_takes_its_share_along() -> None:
    balancer = Balancer({"a": 1.0, "b": 1.0, "c": 0.0})
    wave = torch.randn(2, 12).requires_grad_()
    gradient = balancer.gradient(losses(wave, {"a": 3.0, "c": 9.0}), wave)
    assert float(gradient.norm()) == pytest.approx(0.5, rel=1e-3)
    assert not gradient[:, 4:].any()


def test_the_average_remembers() -> None:
    """After many gradients of length 1 one of length 100 counts about 100 fold: it is not made small at once."""
    balancer = Balancer({"a": 1.0}, decay=0.99)
    wave = torch.zeros(1, 3).requires_grad_()
    for _ in range(2000):
        balancer.gradient({"a": wave[0, 0]}, wave)
    assert float(balancer.gradient({"a": 100 * wave[0, 0]}, wave).norm()) == pytest.approx(100 / 1.99, rel=1e-2)


def test_what_is_no_number_is_left_out() -> None:
    balancer = Balancer({"a": 1.0, "b": 1.0})
    wave = torch.zeros(1, 6).requires_grad_()
    gradient = balancer.gradient({"a": wave[0, 0] * torch.tensor(float("nan")), "b": wave[0, 1]}, wave)
    assert gradient.isfinite().all()
    assert float(balancer.total[0]) == 0


def test_processes_balance_the_gradient_of_all_their_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of a batch, the other's squares told to each: their mean is the gradient of one process that has both."""
    wave = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))

    def found(part: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        part = part.clone().requires_grad_()
        each = {"a": (part - 1).square().sum(1), "b": 9 * part.abs().sum(1)}
        return {name: values.mean() for name, values in each.items()}, part

    weights = {"a": 1.0, "b": 2.0}
    whole = Balancer(weights).gradient(*found(wave))
    halves = wave.chunk(2)
    for mine, (own, other) in enumerate((halves, halves[::-1])):
        terms, leaf = found(other)
        squares = torch.stack([torch.autograd.grad(terms[n], leaf, retain_graph=True)[0].square().sum() for n in weights])
        monkeypatch.setattr("mixcodec.losses.balance.sum_over_processes", lambda s, told=squares: s.add_(told))
        monkeypatch.setattr("mixcodec.losses.balance.world", lambda: 2)
        torch.testing.assert_close(Balancer(weights).gradient(*found(own)) / 2, whole.chunk(2)[mine])
