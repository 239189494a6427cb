"""Sound that libsndfile cannot read, read through the program ffmpeg where that is installed."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from contextlib import ExitStack
from shutil import which
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mixcodec.files import copy
from mixcodec.temporary import temporary_file

CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,avi,caf,dsf,dts,eac3,flac,flv,mov,mp4,m4a,matroska,webm,mp3,mpeg,mpegts,mpc,mpc8,ogg,"
    "rm,tak,truehd,tta,voc,w64,wav,wv"
)
"""What ffmpeg may take a file for: containers of sound, and no list of other files to be read."""
READING = ("-nostdin", "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-i")
WRITING = ("-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-")
FLOAT = 6
"""The number of 32-bit floats, pcm_f32be, in an AU header."""


class FfmpegError(OSError):
    """ffmpeg found no sound, or gave up; the message is the first line of its own."""


class FfmpegSound:
    """The first sound in a file, read from front to back, with as much of soundfile's interface as is needed.

    Attributes:
        samplerate: Hz.
        channels: how many.
        frames: samples per channel; as libsndfile, the largest number where it does not know.
        subtype: FFMPEG.
        said: what ffmpeg complained of without giving up; known at the end.

    Raises:
        FfmpegError: it is not sound, as ffmpeg understands it.
    """

    frames = (1 << 63) - 1
    name = ""
    subtype = "FFMPEG"

    def __init__(self, file: BinaryIO) -> None:
        self.said = ""
        self._stack = ExitStack()
        try:
            handle = self._handle(file)
            self._errors = self._stack.enter_context(temporary_file())
            self._process = subprocess.Popen(
                ["ffmpeg", *READING, f"file:/dev/fd/{handle}", *WRITING],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors.fileno(),
                pass_fds=(handle,),
            )
            self._stack.callback(self._end)
            head = self._take(24)
            if len(head) < 24:
                raise FfmpegError(self._complaint())
            _, start, _, coding, self.samplerate, self.channels = struct.unpack(">4s5I", head)
            if coding != FLOAT or not self.channels:
                raise FfmpegError("it gives no sound")
            self._take(start - 24)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """End ffmpeg, if it still runs."""
        self._stack.close()

    def __enter__(self) -> FfmpegSound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> NDArray[Any]:
        """The next samples, at most `frames`, as (n, channels).

        Raises:
            FfmpegError: ffmpeg gave up.
        """
        data = self._take(frames * 4 * self.channels)
        if not data:
            status = self._process.wait()
            if status:
                raise FfmpegError(self._complaint())
            self.said = self._complaint()
        whole = len(data) // (4 * self.channels) * self.channels
        return np.frombuffer(data, ">f4", whole).reshape(-1, self.channels).astype(dtype)

    def _handle(self, file: BinaryIO) -> int:
        """A descriptor of the whole file."""
        try:
            return file.fileno()
        except OSError:
            on_disk = self._stack.enter_context(temporary_file())
            file.seek(0)
            copy(file, on_disk)
            on_disk.flush()
            return on_disk.fileno()

    def _take(self, count: int) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(count)

    def _complaint(self) -> str:
        if self._process.stdout is not None:
            self._process.wait()
        text = os.pread(self._errors.fileno(), 1 << 14, 0).decode(errors="replace")
        if "matches no streams" in text or "whitelist" in text:
            return "there is no sound in it"
        lines = [re.sub(r"^(\[[^]]*\] |file:|/dev/fd/\d+: )*", "", line.strip()) for line in text.splitlines()]
        return next((line for line in lines if line), "")

    def _end(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.kill()
        self._process.wait()


def is_installed() -> bool:
    """Whether there is an ffmpeg on the path."""
    return which("ffmpeg") is not None
