"""Claims on quantizers, at a small scale: dense log-mel frames of two recordings, of which one is held out."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mixcodec.errors import DataError
from mixcodec.evaluate.claims import quantizers as claims
from mixcodec.evaluate.claims.features import RATE, excerpts, mel, shipped_net, speech_features, speech_waves
from mixcodec.nn.quantizers import QUANTIZERS

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of the two recordings alone, whatever else stands beside them."""
    folder = tmp_path_factory.mktemp("recordings")
    for path in EXAMPLES.glob("*.flac"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def dense(recordings):
    """A frame of either recording every millisecond, by turns to learn from and to measure: for claims on use."""
    speech = speech_features(recordings, 20, "mel", hop=16)
    clips = speech.train + speech.held
    return claims.Speech([clip[::2] for clip in clips], [clip[1::2] for clip in clips], "two recordings")


@pytest.fixture(scope="module")
def latent(recordings):
    """What the shipped codec's quantizer sees, 50 frames a second."""
    return speech_features(recordings, 20, "latents")


def test_what_is_held_out_is_of_other_recordings(recordings):
    train, held = speech_waves(recordings, 20, 0.5)
    assert sorted([len(train[0]), len(held[0])]) == [99726, 116940]
    assert (len(train), len(held)) == (1, 1)


def test_too_little_speech_is_an_error(tmp_path):
    with pytest.raises(DataError):
        speech_features(tmp_path, 20, "mel")


def test_mel_features_are_those_of_numpy():
    wave = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    frames = mel(160)(wave)
    from mixcodec.mel import mel_filters

    padded = np.pad(wave, 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    spectrum = np.abs(np.fft.rfft(padded[1600:2624] * window))
    np.testing.assert_allclose(frames[10], np.log(np.maximum(spectrum @ mel_filters(RATE, 1024, 80), 1e-5)), atol=1e-3)


def test_latents_are_what_the_codec_quantizes(latent, recordings):
    net, wave = shipped_net(), speech_waves(recordings, 20, 0.5)[1][0]
    wave = torch.from_numpy(wave[: len(wave) // net.hop * net.hop])[None]
    with torch.no_grad():
        wanted = net.latents(wave)[0]
    torch.testing.assert_close(latent.held[0] + latent.mean, wanted, atol=1e-4, rtol=1e-4)
    assert latent.frames("train").mean(0).abs().max() < 1e-4


def test_excerpts_are_runs_of_the_clips(latent):
    run = next(excerpts(latent.train, 3, 20, 0))
    assert run.shape == (3, 20, 128)
    clip = latent.train[0]
    starts = [int((clip == part[0]).all(1).nonzero()[0, 0]) for part in run]
    assert all(torch.equal(clip[s : s + 20], part) for s, part in zip(starts, run, strict=True))
    with pytest.raises(DataError, match="10000 frames"):
        next(excerpts(latent.train, 3, 10000, 0))


def test_use_and_error_are_those_of_a_count():
    codes = torch.tensor([[0], [0], [1], [3]])
    assert claims.used(codes, 8) == 3 / 8
    assert claims.perplexity(codes, 8) == pytest.approx(2**1.5 / 8)
    quantizer = QUANTIZERS.build({"kind": "vq", "size": 32, "dim": 4}, channels=6).eval()
    z = torch.randn(500, 6)
    found = claims.codes_of(quantizer, z)
    error = (quantizer.codes_to_vectors(found) - z).square().sum() / (z - z.mean(0)).square().sum()
    assert claims.error_db(quantizer, z, found) == pytest.approx(-10 * np.log10(error.item()), abs=1e-4)


def test_simvq_stays_in_use_where_gradients_let_a_codebook_collapse(dense):
    claim = claims.collapse(dense, size=256, dim=8, steps=60)
    assert claim.numbers["simvq"] > 0.7
    assert claim.numbers["plain"] < 0.3
    assert "| one linear layer (simvq) |" in str(claim)


def test_a_bank_is_in_use_where_a_plain_codebook_is_not(dense):
    clips = [part for clip in dense.train for part in clip.split(16)]
    claim = claims.bank(claims.Speech(clips, dense.held, "two recordings"), size=256, steps=40, per_entry=20)
    assert claim.numbers["frozen bank, learned projector, same"] > 0.8
    assert claim.numbers["frozen bank, learned projector, other"] > 0.95
    assert claim.numbers["gradient (plain vq), same"] < 0.3
    frames = sum(len(clip) for i, clip in enumerate(clips) if i % 3)
    assert claim.rows[0][:3] == ["frozen bank, learned projector", "other clips of its speakers", str(frames)]


@pytest.mark.parametrize("kind", ["frozen_bank", "vq_gradient"])
def test_a_tree_finds_the_codes_of_the_search(dense, kind):
    quantizer = QUANTIZERS.build({"kind": kind, "size": 512, "dim": 4, "metric": "euclidean"}, channels=80)
    quantizer.start(dense.frames("train"))
    quantizer.eval()
    frames = dense.frames("held")
    assert (claims.codes_by_tree(quantizer, frames) == claims.codes_of(quantizer, frames)).float().mean() > 0.99
    with pytest.raises(TypeError):
        claims.codes_by_tree(QUANTIZERS.build({"kind": "vq", "metric": "cosine"}, channels=80), frames)


def test_entries_begin_where_they_are_told(dense):
    entries = dense.frames("train")[:64]
    config = {"kind": "vq_gradient", "size": 64, "dim": 4, "metric": "euclidean"}
    quantizer = claims.train(config, dense, 0, entries=entries)
    torch.testing.assert_close(quantizer.entries, quantizer.enter(entries))


def test_restart_and_k_means_each_raise_use(dense):
    claim = claims.cures(dense, size=256, steps=60)
    plain = claim.numbers["random start, no restart"]
    assert claim.numbers["random start, restart"] > plain + 0.1
    assert claim.numbers["k-means start, no restart"] > plain + 0.1


def test_masked_channels_spread_what_the_first_codebook_holds(latent):
    numbers = claims.masked(latent, books=4, size=64, steps=20).numbers
    assert numbers["masked"] < 0.8 * numbers["residual"]


def test_groups_are_compared_with_a_residual_of_as_many_codebooks(latent):
    claim = claims.groups(latent, books=4, size=64, steps=10)
    assert len(claim.rows) == 2
    assert ("WORSE" in claim.verdict) == (claim.numbers["group"] < claim.numbers["residual"])


def test_a_dropped_tail_is_missed_less(latent):
    numbers = claims.tail(latent, frames=4, tokens=8, size=64, steps=60).numbers
    assert numbers["gain"] > 0
    assert numbers["cost"] < 1


def test_byte_pairs_come_back_and_shorten():
    rng = np.random.default_rng(0)
    clips = [np.repeat(rng.integers(0, 8, 40), rng.integers(1, 6, 40))[:, None] for _ in range(30)]
    claim = claims.bpe(speech_of(clips), {"runs": (clips[:20], clips[20:], 8)})
    assert claim.numbers["exact"] == 1
    assert claim.numbers["runs 1024"] > 0.4


def speech_of(clips):
    frames = [torch.from_numpy(clip).float() for clip in clips]
    return claims.Speech(frames[:20], frames[20:], "made up")


def test_streams_are_codes_of_the_shipped_codec_and_of_k_means(latent, recordings):
    streams = claims.streams(claims.Speech(latent.train * 2, latent.held, "", latent.mean))
    learn, held, size = streams["speech-16k, first codebook"]
    assert (len(learn), len(held), size) == (2, 1, 1024)
    net, wave = shipped_net(), speech_waves(recordings, 20, 0.5)[1][0]
    wave = torch.from_numpy(wave[: len(wave) // net.hop * net.hop])[None]
    with torch.no_grad():
        wanted, _ = net.encode(wave, net.encoder_state(1))
    assert (held[0] == wanted[0, :, :1].numpy()).mean() > 0.98  # taking a mean away and adding it again may tip a tie
    assert streams["k-means, 64 entries"][1][0].max() < 64


def test_merging_costs_little(latent):
    numbers = list(claims.merge(latent).numbers.values())
    assert numbers[0] > numbers[1] > numbers[0] - 1.5


def test_reduced_codebooks_are_monotone(latent):
    numbers = claims.reduced(latent, size=256, digits=4, steps=10).numbers
    assert numbers["rising"] == 1


@pytest.mark.slow
def test_the_search_is_within_two_products_and_takes_a_tenth_of_the_memory():
    claim = claims.search(points=256, size=1 << 16, dims=(8,), repeats=5)
    assert claim.numbers["dim 8"] <= 2
    assert claim.numbers["memory 8"] < 40


@pytest.mark.slow
def test_memory_of_the_search_is_a_fraction_of_all_distances():
    found = {what: claims._peak_megabytes(what, 256, 1 << 16, 8) for what in ("search", "naive")}
    assert found["naive"] > 256 * (1 << 16) * 4 / 1e6
    assert found["search"] < 0.5 * found["naive"]


@pytest.mark.parametrize("more", [[], ["--seconds", "-1"]])
def test_the_command_prints_a_table_and_names_a_mistake(recordings, tmp_path, monkeypatch, capsys, more):
    monkeypatch.setattr(sys, "argv", ["quantizers", "merge", "--speech", str(recordings), "--seconds", "20"])
    assert claims.main() == 0
    assert "| 2 1 1 1 1 1 1 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["quantizers", "merge", "--speech", str(tmp_path), *more])
    assert claims.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
