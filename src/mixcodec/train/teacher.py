"""What teaches a codebook what is said: features of a speech recogniser, in training alone."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mixcodec.audio import Wave, resample
from mixcodec.errors import ConfigError
from mixcodec.evaluate.whisper import EXTRA, whisper_folder
from mixcodec.extras import need_package
from mixcodec.losses.recognition import WIDTH
from mixcodec.losses.words import END, PROMPT

RATE, FRAME_RATE, MOST_SECONDS = 16000, 50, 30
FLOAT16 = 4
"""The type's number in CTranslate2's files."""


class WhisperTeacher:
    """Waves (B, N) -> the encoder's last layer (B, T, 512), 50 frames a second, each number with mean 0 and deviation 1.

    An item is heard by itself and as long as it is, which may be 30 s: what the teacher says of a frame depends on where in the
    recording it is, a little, and on all around it. Radford et al., 2022, Robust speech recognition via large-scale weak
    supervision; a codebook that is taught so: Zhang et al., 2023, SpeechTokenizer: Unified Speech Tokenizer for Speech Large
    Language Models.
    """

    def __init__(self, sample_rate: int, frame_rate: float, threads: int = 1, folder: Path | None = None) -> None:
        """`folder`: a Whisper in the format of CTranslate2, else the one that the packages of [eval-words] carry.

        Raises:
            MissingPartError: that is not installed.
            ConfigError: frames are of a rate that 50 a second is no multiple of; later, waves of more than 30 s.
        """
        if FRAME_RATE % frame_rate:
            raise ConfigError(
                f"teacher 'whisper': its {FRAME_RATE} frames a second are no multiple of the codec's {frame_rate:g}"
            )
        need_package("faster_whisper", EXTRA, "teacher 'whisper'")
        self._model = _in_eight_bits(folder or whisper_folder("teacher 'whisper'"), threads)
        self.sample_rate, self.every = sample_rate, int(FRAME_RATE // frame_rate)
        self.mean, self.deviation = torch.zeros(WIDTH), torch.ones(WIDTH)

    def fit(self, waves: Iterable[torch.Tensor]) -> None:
        """Sets mean and deviation by the features of these batches."""
        seen = torch.cat([self._features(wave).flatten(0, 1) for wave in waves])
        self.mean, self.deviation = seen.mean(0), seen.std(0).clamp(min=1e-4)

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """Features (B, T, 512) of waves (B, N), T = N x frame rate / sample rate rounded down."""
        return ((self._features(wave) - self.mean) / self.deviation).to(wave.device)

    def _features(self, wave: torch.Tensor) -> torch.Tensor:
        frames = wave.shape[1] * FRAME_RATE // self.sample_rate
        if frames > MOST_SECONDS * FRAME_RATE:
            raise ConfigError(f"teacher 'whisper' hears at most {MOST_SECONDS} s, fewer than data.segment_seconds")
        items: list[Wave] = [resample(item, self.sample_rate, RATE) for item in wave.detach().cpu().float().numpy()]
        length = frames * RATE // FRAME_RATE
        mel = np.stack([self._model.feature_extractor(item[:length])[:, : 2 * frames] for item in items])
        features = torch.from_numpy(np.array(self._model.encode(mel))).float()
        return F.avg_pool1d(features.mT, self.every).mT if self.every > 1 else features


class WhisperListener:
    """What Whisper base hears: features (B, T, 512) of its encoder -> tokens (B, L), greedily, in the likeliest language of each.

    Each row is the prompt of four (start, language, transcription, no times), then the text, at most eight tokens a second and
    four more, and is filled up with `END`. Runs in CTranslate2, on the processor, in 8 bits.
    """

    def __init__(self, wanted_by: str, threads: int = 1) -> None:
        """The Whisper is that of the packages of [eval-words], or of `MIXCODEC_WHISPER`.

        Raises:
            MissingPartError: neither is there.
            ConfigError: it has no tokenizer.json, or knows one language alone.
        """
        need_package("faster_whisper", EXTRA, wanted_by)
        from tokenizers import Tokenizer

        folder = whisper_folder(wanted_by)
        if not (folder / "tokenizer.json").is_file():
            raise ConfigError(f"{wanted_by}: {folder} holds no tokenizer.json")
        self._number = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id
        if self._number("<|endoftext|>") != END:
            raise ConfigError(f"{wanted_by}: {folder} holds a Whisper of English alone; one of many languages is needed")
        self._model = _in_eight_bits(folder, threads).model

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        import ctranslate2

        most = PROMPT + 8 * features.shape[1] // FRAME_RATE
        heard = ctranslate2.StorageView.from_array(np.ascontiguousarray(features.cpu().float().numpy()))
        start, task, no_times = (self._number(f"<|{name}|>") for name in ("startoftranscript", "transcribe", "notimestamps"))
        prompts = [[start, self._number(likely[0][0]), task, no_times] for likely in self._model.detect_language(heard)]
        # CTranslate2 writes half of max_length at most
        texts = self._model.generate(heard, prompts, beam_size=1, max_length=2 * most)
        rows = [prompt + text.sequences_ids[0] for prompt, text in zip(prompts, texts, strict=True)]
        length = max(map(len, rows)) + 1
        return torch.tensor([row + [END] * (length - len(row)) for row in rows])


@functools.cache
def _in_eight_bits(folder: Path, threads: int) -> Any:
    """The Whisper of `folder` in faster-whisper, which is loaded once for all who listen."""
    from faster_whisper import WhisperModel

    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=1)


def whisper_weights(wanted_by: str, sides: tuple[str, ...] = ("encoder",)) -> dict[str, torch.Tensor]:
    """The weights of one or both sides (encoder, decoder) in Whisper's file, as float16, by the names that they have there.

    The file is of CTranslate2's format 6: a header, then name, shape, type and values of each tensor.

    Raises:
        MissingPartError: the packages of [eval-words] are not installed.
        ConfigError: the file is not of that format, or not in float16.
    """
    path = whisper_folder(wanted_by) / "model.bin"
    weights = {}
    with path.open("rb") as file:

        def read(fields: str) -> tuple[Any, ...]:
            return struct.unpack(f"<{fields}", file.read(struct.calcsize(f"<{fields}")))

        def text() -> str:
            return file.read(*read("H")).rstrip(b"\0").decode()

        if read("I") != (6,) or text() != "WhisperSpec":
            raise ConfigError(f"{wanted_by}: {path} is not a Whisper in CTranslate2's format 6")
        _, count = read("II")
        for _ in range(count):
            name, (rank,) = text(), read("B")
            *shape, kind, size = read(f"{rank}IBI")
            if not (name.startswith(sides) and shape):
                file.seek(size, os.SEEK_CUR)
                continue
            if kind != FLOAT16:
                raise ConfigError(f"{wanted_by}: {path} holds {name} in another type than float16")
            weights[name] = torch.from_numpy(np.frombuffer(file.read(size), np.float16).reshape(shape).copy())
    return weights
