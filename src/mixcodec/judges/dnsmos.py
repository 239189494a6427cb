"""DNSMOS: what listeners would say of speech, judged by a network that hears the decoded clip alone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave
from mixcodec.judges.base import UnscorableError, finite

RATE = 16000
WINDOW_SECONDS = 9.01
WINDOW = int(WINDOW_SECONDS * RATE)
FFT, HOP, BANDS = 321, 160, 120
"""The spectrogram that the P.808 network was trained on; the FFT is one longer than the frame of 20 ms."""
POWER_FLOOR = 1e-10
RANGE_DB = 80.0

SIG_CURVE = (-0.08397278, 1.22083953, 0.0052439)
BAK_CURVE = (-0.13166888, 1.60915514, -0.39604546)
OVRL_CURVE = (-0.06766283, 1.11546468, 0.04602535)
"""The authors' polynomials, highest power first, from the outputs of the network to the P.835 scales."""


class Scores(NamedTuple):
    """The four means of DNSMOS, 1 to 5."""

    sig: float
    bak: float
    ovrl: float
    p808: float


def dnsmos(wave: Wave, windows: int | None = None) -> Scores:
    """Speech quality (SIG), background (BAK) and overall (OVRL) as of P.835, and the overall score as of P.808.

    Of `wave` (N,) at 16 kHz. Reddy, Gopal, Cutler, 2022, DNSMOS P.835, and 2021, DNSMOS (P.808). The two networks come in the
    package speechmos; they are run here, since its own function brings in librosa only to compute one spectrogram. Samples
    beyond full scale are clipped, as in a file of PCM. Of `windows`, only so many, the first ones, are heard (the authors hear
    all); one of them costs some 0.4 s of a processor, and a clip of 4 s has seven.

    Raises:
        UnscorableError: the wave is empty.
    """
    if not len(wave):
        raise UnscorableError("the clip is empty")
    p835, p808 = _sessions()
    rows = []
    for window in _windows(np.clip(wave, -1, 1))[:windows]:
        scores = p835.run(None, {"input_1": window[None]})[0][0]
        overall = p808.run(None, {"input_1": _log_mel(window[:-HOP])[None]})[0][0, 0]
        rows.append([np.polyval(curve, x) for curve, x in zip((SIG_CURVE, BAK_CURVE, OVRL_CURVE), scores, strict=True)])
        rows[-1].append(overall)
    return Scores(*(finite(value, "DNSMOS") for value in np.mean(rows, axis=0)))


@functools.cache
def _sessions() -> tuple[Any, Any]:
    """The networks of P.835 and of P.808: one thread each, since whoever measures many clips has a process a core."""
    import onnxruntime
    import speechmos

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    folder = Path(speechmos.__file__).parent / "dnsmos_models"
    p835, p808 = (
        onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
        for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
    )
    return p835, p808


def _windows(wave: Wave) -> list[Wave]:
    """The pieces of 9.01 s that are scored, a second apart, of the clip doubled until it fills one.

    How many there are is the authors' rule, which leaves out the last piece now and then; it is kept, for equal numbers.
    """
    while len(wave) < WINDOW:
        wave = np.concatenate([wave, wave])
    count = int(len(wave) // RATE - WINDOW_SECONDS) + 1
    starts = (index * RATE for index in range(count))
    return [wave[start : start + WINDOW].astype(np.float32) for start in starts if start + WINDOW <= len(wave)]


def _log_mel(wave: Wave) -> NDArray[np.float32]:
    """The spectrogram (frames, BANDS) of `wave` in dB below its loudest cell, scaled so that -80 dB is -1 and 0 dB is 1."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, FFT // 2), FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    power = np.abs(np.fft.rfft(frames * window)) ** 2 @ _slaney_filters()
    level = 10 * np.log10(np.maximum(power, POWER_FLOOR))
    level -= level.max()
    return np.asarray((np.maximum(level, -RANGE_DB) + 40) / 40, np.float32)


@functools.cache
def _slaney_filters() -> NDArray[np.float64]:
    """Triangular bands of equal area, weights (FFT // 2 + 1, BANDS), on Slaney's mel scale (1998, Auditory Toolbox).

    Not the scale of mixcodec.mel: this one is linear below 1 kHz, and the network knows no other.
    """
    step, knee, ratio = 200 / 3, 1000.0, np.log(6.4) / 27
    top = knee / step + np.log(RATE / 2 / knee) / ratio
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < knee / step, mels * step, knee * np.exp(ratio * (mels - knee / step)))
    bins = np.fft.rfftfreq(FFT, 1 / RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2]))
