"""The entropy tables of a codec, from the corpus that it was trained on."""

import numpy as np
import torch

from mixcodec.audio import read_audio, resample
from mixcodec.data import Data
from mixcodec.entropy import Tables
from mixcodec.entropy.learn import learn_tables
from mixcodec.nn.codec import CodecNet

HOURS = 4.0
"""As much of the corpus is encoded."""
SILENCE_EVERY, SILENCE_SECONDS = 150, 3.0
"""One clip in so many has silence for so long before it, and between it and its repetition: tables are to know it."""


@torch.no_grad()
def corpus_tables(net: CodecNet, data: Data, hours: float = HOURS) -> Tables:
    """Tables learned from the codes of the training files, as they were recorded, with the pauses around what is said.

    At most about `hours` of them are encoded, clips evenly over the corpus.

    `net` must be the net as it is exported. Raises AudioError for a file that can no longer be read.
    """
    step = max(1, round(data.train.seconds / 3600 / hours))
    silence = np.zeros(round(SILENCE_SECONDS * net.sample_rate), np.float32)
    codes = []
    for number, clip in enumerate(data.train.clips[::step]):
        wave, rate = read_audio(data.manifest.root / clip.path)
        wave = resample(wave if wave.ndim == 1 else wave.mean(0), rate, net.sample_rate)
        if number % SILENCE_EVERY == 0:
            wave = np.concatenate([silence, wave, silence, wave])
        padded = np.pad(wave, (0, -len(wave) % net.hop))
        codes.append(net.encode(torch.from_numpy(padded)[None], net.encoder_state(1))[0][0].numpy())
    return learn_tables(codes, net.codebook_size)
