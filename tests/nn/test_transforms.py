import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.errors import ConfigError
from mixcodec.nn.transforms import TRANSFORMS
from mixcodec.nn.transforms.dft import RealDft


def build(kind, **options):
    return TRANSFORMS.build({"kind": kind, "hop": 32, **options})


@pytest.mark.parametrize("kind", [k for k in TRANSFORMS.kinds() if build(k).exact])
def test_reconstruction_is_exact_but_for_the_delay(kind):
    transform = build(kind)
    wave = torch.randn(2, 20 * 32) * 0.1
    back = transform.frames_to_wave(transform.wave_to_frames(wave))
    error = back[:, transform.delay :] - wave[:, : -transform.delay]
    assert error.abs().max() < 1e-4


@pytest.mark.parametrize("kind", TRANSFORMS.kinds())
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 11), max_size=4))
def test_blocks_with_carried_state_equal_one_block(kind, cuts):
    transform = build(kind)
    wave = torch.randn(1, 11 * 32, generator=torch.Generator().manual_seed(0))
    frames = transform.wave_to_frames(wave)
    analysis, synthesis, found, heard = transform.analysis_state(1), transform.synthesis_state(1), [], []
    for part in torch.tensor_split(wave.unflatten(1, (11, 32)), sorted(cuts), dim=1):
        if part.shape[1]:
            some, analysis = transform.analyse(part.flatten(1), analysis)
            sound, synthesis = transform.synthesise(some, synthesis)
            found.append(some)
            heard.append(sound)
    assert torch.allclose(torch.cat(found, 1), frames, atol=1e-6)
    assert torch.allclose(torch.cat(heard, 1), transform.frames_to_wave(frames), atol=1e-6)


@pytest.mark.parametrize("kind", TRANSFORMS.kinds())
def test_features_have_the_stated_size(kind):
    transform = build(kind)
    frames = transform.wave_to_frames(torch.randn(2, 5 * 32))
    assert frames.shape == (2, 5, transform.coefficients)
    assert transform.features(frames).shape == (2, 5, transform.feature_channels)


def test_stft_is_numpys_with_compressed_magnitudes():
    transform = build("stft", power=0.5)
    wave = torch.randn(1, 4 * 32)
    frames = transform.wave_to_frames(wave)[0].numpy()
    taper = np.sin(np.pi * (np.arange(64) + 0.5) / 64)
    expected = np.fft.rfft(wave[0, 32:96].numpy() * taper, norm="ortho")
    expected = expected * np.abs(expected) ** -0.5
    np.testing.assert_allclose(frames[2, :33] + 1j * frames[2, 33:], expected, atol=1e-4)


@settings(deadline=None)
@given(size=st.integers(2, 300), seed=st.integers(0, 99))
def test_dft_is_numpys(size, seed):
    x = torch.randn(3, size, generator=torch.Generator().manual_seed(seed))
    dft = RealDft(size)
    re, im = dft(x)
    expected = np.fft.rfft(x.double().numpy(), norm="ortho")
    np.testing.assert_allclose(re.numpy() + 1j * im.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(dft.inverse(re, im).numpy(), x.numpy(), atol=1e-5)
    junk = torch.zeros_like(im)  # numpy, too, sees nothing of it
    junk[:, [0, -1] if size % 2 == 0 else [0]] = 7.0
    np.testing.assert_allclose(dft.inverse(re, im + junk).numpy(), x.numpy(), atol=1e-5)


def test_dft_is_small():
    assert sum(table.numel() for table in RealDft(1764).buffers()) < 1764**2 / 100


def test_silence_has_a_finite_gradient():
    transform = build("stft")
    wave = torch.zeros(1, 96, requires_grad=True)
    transform.frames_to_wave(transform.wave_to_frames(wave)).sum().backward()
    assert wave.grad.isfinite().all()


@pytest.mark.parametrize("options", [{"hop": 31}, {"hop": 32, "power": 0}])
def test_values_out_of_range_are_errors(options):
    with pytest.raises(ConfigError):
        TRANSFORMS.build({"kind": "stft", **options})
