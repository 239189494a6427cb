"""Speaker similarity: the package's functions, called directly, are the oracle."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from mixcodec.audio import read_audio, resample
from mixcodec.evaluate.metrics.base import METRICS, UnscorableError
from mixcodec.evaluate.metrics.speaker import SpeakerSimilarity
from mixcodec.extras import MissingPartError

EXAMPLES = Path(__file__).parents[3] / "examples"
RATE = 16000


@pytest.fixture(scope="module")
def clips():
    return [read_audio(EXAMPLES / name)[0] for name in ("directory.flac", "queue.flac")]


@pytest.fixture(scope="module")
def metric():
    metric = METRICS.build("speaker_similarity")
    try:
        metric.check()
    except MissingPartError:
        pytest.skip("the network is in mixcodec[eval-speaker]")
    return metric


def score(metric, reference, wave):
    return metric.measure(metric.prepare(reference, RATE), wave, RATE)["speaker_similarity"]


def lower_voice(wave):
    """`wave` a fourth lower and slower, cut to its length."""
    return resample(wave, 3, 4)[: len(wave)]


def test_agrees_with_the_package(metric, clips):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder, preprocess_wav

        encoder = VoiceEncoder("cpu", verbose=False)
        first, second = (encoder.embed_utterance(preprocess_wav(clip)) for clip in clips)
    # The embeddings are in single precision and of length 1.
    assert score(metric, *clips) == pytest.approx(float(first @ second), abs=1e-6)


def test_an_identical_clip_is_the_best(metric, clips):
    assert score(metric, clips[0], clips[0]) == pytest.approx(metric.scales[0].best, abs=1e-6)
    assert score(metric, clips[0], clips[0]) <= 1


def test_another_voice_is_further_than_other_words(metric, clips):
    words = score(metric, clips[0], clips[1])
    voice = score(metric, clips[0], lower_voice(clips[0]))
    assert voice < words - 0.1 < words < 1


def test_is_deterministic(metric, clips):
    assert score(metric, clips[0], lower_voice(clips[0])) == score(SpeakerSimilarity(), clips[0], lower_voice(clips[0]))


def test_odd_clips(metric, clips, capfd):
    speech, silence = clips[0], np.zeros_like(clips[0])
    for short in (silence, speech[16000:19200], speech[:0], silence[:1]):
        with pytest.raises(UnscorableError, match="in the reference"):
            score(metric, short, short)
    with pytest.raises(UnscorableError, match="in the decoded clip"):
        score(metric, speech, silence)
    noise = np.random.default_rng(0).normal(0, 0.1, speech.shape).astype(np.float32)
    assert 0 <= score(metric, speech, noise) < 0.7
    assert 0 <= score(metric, speech, speech * 100) < 1
    assert capfd.readouterr() == ("", "")


def test_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(MissingPartError, match=r"^metric speaker_similarity needs resemblyzer .*'mixcodec\[eval-speaker\]'$"):
        SpeakerSimilarity().check()


def test_leaves_no_stand_in_behind(metric):
    module = sys.modules.get("pkg_resources")
    assert module is None or hasattr(module, "require")
