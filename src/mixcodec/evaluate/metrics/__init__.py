"""Metrics, each in one file with its relatives, all behind one protocol."""

from collections.abc import Sequence

from mixcodec.errors import UsageError
from mixcodec.evaluate.metrics import buzz, distances, opinion, perceptual, pitch, speaker, visqol, words
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError

DEFAULT = ("pesq_wb", "stoi", "mel", "stft", "si_sdr", "lsd", "pesq_nb", "estoi")
"""The metrics of a run that names none, in the order of its tables."""

JUDGES = ("distillmos", "dnsmos", "harmonicity", "modulation", "pitch")
"""Those of speech that no loss of the codecs here follows."""

__all__ = [
    "DEFAULT",
    "JUDGES",
    "METRICS",
    "Metric",
    "Scale",
    "UnscorableError",
    "buzz",
    "chosen_metrics",
    "distances",
    "opinion",
    "perceptual",
    "pitch",
    "speaker",
    "visqol",
    "words",
]


def chosen_metrics(words: Sequence[str], speech: bool = True) -> tuple[str, ...]:
    """The kinds that `words` name, each once: kinds, "default", "judges" or "all"; of "default" and "all" only what is not for
    speech alone, unless it is `speech` that is evaluated.

    Raises:
        UsageError, ConfigError: none is named, or one that is not there.
    """
    if not words:
        raise UsageError("no metric is named; leave --metrics out for the default ones")
    kinds: list[str] = []
    for word in words:
        if word == "judges":
            kinds += JUDGES
            continue
        many = {"default": DEFAULT, "all": (*DEFAULT, *JUDGES, *METRICS.kinds())}.get(word)
        kinds += (word,) if many is None else [kind for kind in many if speech or not METRICS.build(kind).speech_only]
    for kind in kinds:
        METRICS.options(kind)  # raises for one that is not there
    return tuple(dict.fromkeys(kinds))
