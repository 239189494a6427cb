import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.losses import discriminator_loss, feature_loss, generator_loss
from mixcodec.losses.discriminators import DISCRIMINATORS
from mixcodec.losses.discriminators.period import Period

RESOLUTIONS = {"kind": "multi_resolution", "windows": [128, 256], "bands": 4, "width": 16, "depth": 3}
PERIODS = {"kind": "multi_period", "periods": [2, 3], "width": 16, "depth": 3}
SMALL = {
    "multi_resolution": RESOLUTIONS,
    "multi_period": PERIODS,
    "ensemble": {"kind": "ensemble", "members": [RESOLUTIONS, PERIODS]},
}


@pytest.fixture(params=DISCRIMINATORS.kinds())
def discriminator(request):
    torch.manual_seed(0)
    return DISCRIMINATORS.build(SMALL[request.param])


def test_a_period_sees_its_columns_alone():
    """The oracle is HiFi-GAN's two-dimensional convolution with the same weights."""
    period, wave = Period(3, 8, 1), torch.randn(2, 90)
    _, (found,) = period(wave)
    image = wave.view(2, 1, 30, 3)
    weight = period.layers[0].weight.view(8, 1, 5, 1)
    wanted = torch.nn.functional.conv2d(image, weight, period.layers[0].bias, stride=(3, 1), padding=(2, 0))
    wanted = torch.nn.functional.leaky_relu(wanted, 0.1)  # (B, C, L, period)
    assert torch.allclose(found, wanted.permute(0, 3, 2, 1), atol=1e-5)


def test_an_ensemble_is_its_members():
    torch.manual_seed(0)
    ensemble, wave = DISCRIMINATORS.build(SMALL["ensemble"]), torch.randn(1, 2000)
    parts = [*ensemble.members[0](wave), *ensemble.members[1](wave)]
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(ensemble(wave), parts, strict=True))
    with pytest.raises(ConfigError, match="at least one"):
        DISCRIMINATORS.build({"kind": "ensemble", "members": []})


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
    real = torch.stack([torch.sin(2 * torch.pi * (300 + 200 * i) * t * (1 + t)) for i in range(8)]) * 0.3
    fake = torch.randn(8, 4000) * 0.2
    optimizer = torch.optim.AdamW(discriminator.parameters(), 3e-3)
    for _ in range(100):
        loss = discriminator_loss(discriminator(real), discriminator(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2, "an untrained one is near 1"
