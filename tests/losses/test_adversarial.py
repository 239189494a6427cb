import pytest
import torch

from mixcodec.losses import discriminator_loss, feature_loss, generator_loss
from mixcodec.losses.discriminators import DISCRIMINATORS


@pytest.fixture(params=DISCRIMINATORS.kinds())
def discriminator(request):
    torch.manual_seed(0)
    return DISCRIMINATORS.build({"kind": request.param, "windows": [128, 256], "bands": 4, "width": 16, "depth": 3})


def test_losses_are_their_formulas():
    real, fake = [(torch.tensor([1.0, 0.5]), [])], [(torch.tensor([0.0, 0.5]), [])]
    assert float(discriminator_loss(real, fake)) == pytest.approx(0.125 + 0.125)
    assert float(generator_loss(fake)) == pytest.approx((1 + 0.25) / 2)
    one, two = [(torch.zeros(1), [torch.tensor([2.0, 2.0])])], [(torch.zeros(1), [torch.tensor([1.0, 2.0])])]
    assert float(feature_loss(one, two)) == pytest.approx(0.25)
    assert float(feature_loss(one, one)) == 0


def test_gradients_reach_the_wave_and_every_weight(discriminator):
    wave = torch.randn(2, 2000, requires_grad=True)
    generator_loss(discriminator(wave)).backward()
    assert wave.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in discriminator.parameters())


def test_silence_has_a_finite_gradient(discriminator):
    wave = torch.zeros(1, 2000, requires_grad=True)
    generator_loss(discriminator(wave)).backward()
    assert wave.grad.isfinite().all()


def test_it_learns_to_tell_chirps_from_noise(discriminator):
    t = torch.arange(4000) / 16000
    real = torch.stack([torch.sin(2 * torch.pi * (300 + 200 * i) * t * (1 + t)) for i in range(8)]) * 0.1
    fake = torch.randn(8, 4000) * 0.07
    optimizer = torch.optim.AdamW(discriminator.parameters(), 1e-3)
    for _ in range(100):
        loss = discriminator_loss(discriminator(real), discriminator(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1, "an untrained one is near 1"
