"""Heads: a stream is the whole, windows add up, pulses are their sum of cosines, and pitch is what was planted."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcodec.errors import ConfigError
from mixcodec.nn.heads import HEADS, Fine, Harmonic
from mixcodec.nn.heads.source import CYCLE, TABLES, looped_noise, noise_tables, pulses, running_max, since_onset

HOP, RATE = 64, 16000
STAGE = {"mixer": {"kind": "convolution", "kernel": 3}, "channel": "mlp"}
FORMS = [
    {"kind": "fine", "width": 8, "stages": [STAGE]},
    {"kind": "fine", "width": 8, "stages": [], "steps": 1, "overlap": 4},
    {"kind": "fine", "width": 8, "stages": [STAGE], "steps": 8, "overlap": 3, "frame_below": 3000, "spread": "learned"},
    {"kind": "harmonic", "width": 8, "stages": [STAGE]},
    {"kind": "harmonic", "width": 8, "stages": [STAGE], "steps": 2, "overlap": 2, "frame_below": 1000, "free": True},
    {"kind": "upsample", "inputs": 12, "factors": [4, 4, 4], "widths": [8, 6, 4], "kernel": 3},
]


def build(form, dtype=torch.float64):
    torch.manual_seed(0)
    return HEADS.build(form, hop=HOP, sample_rate=RATE).eval().to(dtype)


def test_every_kind_is_among_the_forms():
    assert {form["kind"] for form in FORMS} == set(HEADS.kinds())


@pytest.mark.parametrize("form", FORMS, ids=str)
@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(0, 9), max_size=4))
def test_a_stream_is_the_whole(form, cuts):
    """In float64, where what rounding does to a phase that runs on is far below the bound."""
    head = build(form)
    x = torch.randn(2, 9, head.inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole, state, heard = head(x), head.initial_state(2), []
    for part in torch.tensor_split(x, sorted(cuts), dim=1):
        if part.shape[1]:
            sound, state = head.step(part, state)
            heard.append(sound)
    assert whole.shape == (2, 9 * HOP)
    assert (torch.cat(heard, 1) - whole).abs().max() < 1e-6  # the windows of the spectrum are float32


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_head_is_causal_and_all_of_it_learns(form):
    head = build(form, torch.float32)
    x = torch.randn(1, 6, head.inputs, requires_grad=True)
    later = x.detach().clone()
    later[:, 4:] += 1
    assert torch.equal(head(x)[:, : 4 * HOP], head(later)[:, : 4 * HOP])
    loss = head(x).square().mean() + sum(head.auxiliary(x, torch.full((1, 200), 220.0)).values())
    loss.backward()
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters())


@pytest.mark.parametrize(("steps", "overlap"), [(1, 2), (4, 4), (4, 3), (2, 4)])
def test_windows_of_a_wave_add_up_to_it(steps, overlap):
    """Analysis by numpy's DFT; the first window ends where the first step does."""
    head = build({"kind": "fine", "width": 4, "stages": [], "steps": steps, "overlap": overlap})
    wave = np.random.default_rng(0).standard_normal(20 * HOP)
    ahead = head.window - head.fine
    padded = np.concatenate([np.zeros(ahead), wave])
    windows = np.stack([padded[k * head.fine : k * head.fine + head.window] for k in range(20 * steps)])
    spectrum = np.fft.rfft(windows * np.sin(np.pi * (np.arange(head.window) + 0.5) / head.window), norm="ortho")[None]
    parts = torch.from_numpy(spectrum.real.copy()).float(), torch.from_numpy(spectrum.imag.copy()).float()
    sound, _ = head._add_up(parts, head.initial_state(1)["overlap"].float())
    assert np.abs(sound[0, ahead:].numpy() - wave[: len(wave) - ahead]).max() < 1e-5


def none(count, batch=1):
    return torch.zeros(batch, count, dtype=torch.bool)


def test_pulses_are_a_sum_of_cosines_whose_phase_is_the_integral_of_pitch():
    f0 = torch.tensor([[110.0, 110.0, 180.0, 400.0, 90.0]], dtype=torch.float64)
    sound, phase = pulses(f0, torch.tensor([CYCLE // 3]), none(4), 80, RATE)
    nodes = f0[0].numpy()
    track = np.concatenate([a + (b - a) * np.arange(1, 81) / 80 for a, b in pairwise(nodes)])
    cycles = 1 / 3 + np.cumsum(track) / RATE
    top = np.floor(RATE / 2 / track - 0.01)
    expected = sum(np.where(h <= top, np.cos(2 * np.pi * h * cycles), 0) for h in range(1, 100))
    assert np.abs(sound[0].numpy() - expected).max() < 1e-3
    assert abs(float(phase[0, -1]) / CYCLE - cycles[-1] % 1) < 1e-6


def test_phase_adds_up_alike_in_any_pieces():
    f0 = 100 + 200 * torch.rand(1, 201, generator=torch.Generator().manual_seed(0))
    onset = torch.rand(1, 200, generator=torch.Generator().manual_seed(1)) < 0.03
    whole = pulses(f0, torch.zeros(1).long(), onset, 80, RATE)[1]
    phase, parts = torch.zeros(1).long(), []
    for begin in range(0, 200, 7):
        some = pulses(f0[:, begin : begin + 8], phase, onset[:, begin : begin + 7], 80, RATE)[1]
        phase = some[:, -1]
        parts.append(some)
    assert torch.equal(torch.cat(parts, 1), whole)


@settings(deadline=None, max_examples=50)
@given(steps=st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=30), start=st.integers(0, 50))
def test_a_count_begins_anew_at_an_onset(steps, start):
    amounts, onset = torch.tensor([[n for n, _ in steps]]), torch.tensor([[new for _, new in steps]])
    before, after = since_onset(amounts, torch.tensor([start]), onset)
    count, expected = start, []
    for n, new in steps:
        count = 0 if new else count
        expected.append((count, count + n))
        count += n
    assert list(zip(before[0].tolist(), after[0].tolist(), strict=True)) == expected


def test_the_running_maximum_of_a_graph_is_torchs(monkeypatch):
    x = torch.randint(-(10**9), 10**9, (2, 700), generator=torch.Generator().manual_seed(0))
    wanted = x.cummax(1).values
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(running_max(x), wanted)


def test_a_decoder_that_begins_late_gives_the_same_samples_once_the_voice_sets_in():
    head = build({"kind": "harmonic", "width": 8, "stages": []})
    voiced = torch.tensor([*[0.9] * 8, *[0.0] * 5, *[0.9] * 40], dtype=torch.float64)[None]
    f0 = torch.linspace(100, 300, 53, dtype=torch.float64)[None]
    whole, _, _ = head._source(f0, voiced, head.initial_state(1))
    late, _, _ = head._source(f0[:, 6:], voiced[:, 6:], head.initial_state(1))
    assert torch.allclose(late[:, :, 11:], whole[:, :, 17:])
    assert not torch.allclose(late[:, :, :3], whole[:, :, 6:9])


def test_noise_is_white_and_goes_on_where_it_was():
    tables = noise_tables()
    noise = looped_noise(tables, torch.zeros(1, 1).long(), 100_000)[0]
    assert torch.equal(noise[500:900], looped_noise(tables, torch.tensor([[500, 700]]), 200)[0])
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.square().mean()) - 1) < 0.03
    assert len(set(TABLES)) == 2
    for lag in (1, 2, 80, TABLES[0] - TABLES[1]):
        assert abs(float((noise[lag:] * noise[:-lag]).mean())) < 0.03


@pytest.mark.parametrize("hertz", [82.4, 149.9, 220.0, 431.0])
def test_a_planted_pitch_is_read_and_heard(hertz):
    """With that pitch's scores, the harmonic filter open and all else shut, the wave is pulses at that pitch, one frame late."""
    head = Harmonic(320, RATE, width=8, stages=[])
    bin = np.log2(hertz / head.lowest) * head.per_octave
    with torch.no_grad():
        head.pitch_out.weight.zero_()
        head.pitch_out.bias[:-1] = -0.5 * (torch.arange(head.pitches) - bin) ** 2
        head.pitch_out.bias[-1] = 30.0
        head.net.leave.weight.zero_()
        head.net.leave.bias.zero_()
        head.net.leave.bias[2 * head.bins : 3 * head.bins] = -30.0  # noise
    x = torch.zeros(1, 50, head.inputs)
    f0, voiced = head.pitch(torch.zeros(1, 200, head.width))
    assert torch.allclose(f0, torch.tensor(hertz), rtol=1e-3)
    assert torch.allclose(voiced, torch.tensor(1.0))
    sound = head(x)[0].detach().numpy()
    train, _ = pulses(f0[:, :1].detach().repeat(1, 201), torch.zeros(1).long(), none(200), 80, RATE)
    expected = train[0].numpy()
    # the first step's source ends at the first node: the source is ahead of the sound by all of a window but its last step
    ahead = head.window - head.fine
    assert np.abs(sound[ahead + 400 : 12000] - expected[400 : 12000 - ahead]).max() < 2e-2


def test_auxiliary_is_least_for_the_truth():
    head = Harmonic(320, RATE, width=8, stages=[])
    truth = torch.full((1, 40), 200.0)
    truth[:, 20:] = 0
    bin = np.log2(200 / head.lowest) * head.per_octave
    near = -0.5 * (torch.arange(head.pitches) - bin) ** 2
    scores = near[None, None].repeat(1, 40, 1), torch.where(truth > 0, 9.0, -9.0)
    values = {}
    for name, shift in (("right", 0), ("wrong", 12)):
        head._pitch_scores = lambda features, shift=shift: (scores[0].roll(shift, 2), scores[1])
        values[name] = float(head.auxiliary(torch.zeros(1, 10, head.inputs), truth)["pitch"])
    assert values["right"] < 1.5  # the entropy of a bin that its neighbours share
    assert values["wrong"] > values["right"] + 5


def test_pitch_is_taught_at_the_time_of_each_step():
    """Two steps a frame of 10 ms are taught by every second value of a track with one each 5 ms."""
    head = Harmonic(320, RATE, width=8, stages=[], steps=2, overlap=2)
    truth = 100.0 * 2 ** (torch.arange(41) / 40)[None]
    bins = torch.log2(truth[:, ::2][:, :20] / head.lowest) * head.per_octave
    scores = -0.5 * (torch.arange(head.pitches) - bins[..., None]) ** 2, torch.full((1, 20), 9.0)
    head._pitch_scores = lambda features: scores
    assert float(head.auxiliary(torch.zeros(1, 10, head.inputs), truth)["pitch"]) < 1.5


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"kind": "fine", "steps": 3}, "divide the hop"),
        ({"kind": "fine", "steps": 1, "overlap": 4, "frame_below": 1000}, "delay of one frame"),
        ({"kind": "harmonic", "lowest": 700}, "rise from 20 Hz"),
        ({"kind": "fine", "frame_below": 9000}, "half the sample rate"),
        ({"kind": "upsample", "factors": [4, 4]}, "multiply to the hop"),
        ({"kind": "fine", "spread": "leaned"}, "did you mean 'learned'"),
        ({"kind": "harmonic", "free": 1}, "true or false"),
        ({"kind": "harmonics"}, "did you mean 'harmonic'"),
        ({"kind": "fine", "overlapp": 4}, "did you mean 'overlap'"),
    ],
)
def test_bad_options_are_one_line(form, told):
    with pytest.raises(ConfigError, match=told):
        HEADS.build(form, hop=HOP, sample_rate=RATE)


def test_fine_is_the_base_of_harmonic():
    assert issubclass(Harmonic, Fine)
