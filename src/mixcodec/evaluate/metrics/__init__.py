"""Metrics, each in one file with its relatives, all behind one protocol."""

from collections.abc import Sequence

from mixcodec.evaluate.metrics import distances, dnsmos, perceptual, pitch, speaker, visqol, words
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale, UnscorableError

DEFAULT = ("pesq_wb", "stoi", "mel", "stft", "si_sdr", "lsd", "pesq_nb", "estoi")
"""The metrics of a run that names none, in the order of its tables."""

__all__ = [
    "DEFAULT",
    "METRICS",
    "Metric",
    "Scale",
    "UnscorableError",
    "chosen_metrics",
    "distances",
    "dnsmos",
    "perceptual",
    "pitch",
    "speaker",
    "visqol",
    "words",
]


def chosen_metrics(words: Sequence[str]) -> tuple[str, ...]:
    """The kinds that `words` name, each once: kinds themselves, "default", or "all".

    Raises:
        ConfigError: no such metric.
    """
    kinds: list[str] = []
    for word in words:
        kinds += {"default": DEFAULT, "all": (*DEFAULT, *METRICS.kinds())}.get(word, (word,))
    for kind in kinds:
        METRICS.options(kind)  # raises for one that is not there
    return tuple(dict.fromkeys(kinds))
