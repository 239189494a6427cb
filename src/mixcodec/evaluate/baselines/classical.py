"""Classical codecs, each through the program that people use: Opus, Codec2, Speex, and those of ffmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from mixcodec.audio import read_audio, resample, write_audio
from mixcodec.errors import UsageError
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.evaluate.baselines.programs import OGG_HEADER_PACKETS, first_line, ogg_packet_bytes, run
from mixcodec.extras import MissingPartError, need_program


def _not(setting: float | None) -> str:
    return "" if setting is None else f", not {setting:g}"


class _Ogg(Coder):
    """A codec whose files are Ogg: the payload is what its audio packets hold."""

    def payload_bytes(self, coded: Path) -> int:
        return sum(ogg_packet_bytes(coded)[OGG_HEADER_PACKETS:])


@CODERS.register("opus")
class Opus(_Ogg):
    """Opus at a target bitrate (variable), complexity 10, frames of 20 ms: opusenc's defaults.

    But for the 512 bytes that it leaves free for comments that may be added later: they are no part of the sound.
    """

    kind = "opus"
    source = "Valin, Vos, Terriberry, 2012, RFC 6716; opusenc and opusdec"
    settings = "target kbps, 6 to 256"
    suffix = ".opus"

    def check(self) -> None:
        for program in ("opusenc", "opusdec"):
            need_program(program, "opus-tools", "opus")
        if self.setting is None or not 6 <= self.setting <= 256:
            raise UsageError(f"opus needs a bitrate of 6 to 256 kbps{_not(self.setting)}: opus@6,12")

    def version(self) -> str:
        return first_line("opusenc", "--version")

    def encode(self, source: Path, target: Path) -> None:
        run("opusenc", "--quiet", "--padding", 0, "--bitrate", f"{self.setting:g}", source, target)

    def decode(self, source: Path, target: Path) -> None:
        run("opusdec", "--quiet", "--no-dither", "--force-wav", source, target)


@CODERS.register("speex")
class Speex(_Ogg):
    """Wide-band Speex at the greatest quality whose constant bitrate does not exceed the setting."""

    kind = "speex"
    source = "Valin, 2006, Speex: a free codec for free speech; speexenc and speexdec, wide band"
    settings = "greatest kbps, 4 to 42"
    suffix = ".spx"
    rate: ClassVar[int] = 16000

    def check(self) -> None:
        for program in ("speexenc", "speexdec"):
            need_program(program, "speex", "speex")
        if self.setting is None or not 4 <= self.setting <= 42.5:
            raise UsageError(f"speex needs a bitrate of 4 to 42 kbps{_not(self.setting)}: speex@9.8")

    def version(self) -> str:
        return first_line("speexenc", "--version")

    def encode(self, source: Path, target: Path) -> None:
        wave, rate = read_audio(source)
        wide = target.with_suffix(".wide.wav")
        write_audio(wide, resample(wave, rate, self.rate), self.rate)
        stereo = ["--stereo"] if wave.ndim == 2 else []
        run("speexenc", "--wideband", "--bitrate", round(1000 * (self.setting or 0)), *stereo, wide, target)

    def decode(self, source: Path, target: Path) -> None:
        run("speexdec", source, target)


@CODERS.register("codec2")
class Codec2(Coder):
    """Codec2, a parametric vocoder of 8 kHz speech.

    Its file has a header of 7 bytes, and in it every frame is filled up to whole bytes: in the modes 1300, 700C and 450 that is
    more than the bits of the frame, which are what the payload counts.
    """

    kind = "codec2"
    source = "Rowe, 2009 on, Codec 2; c2enc and c2dec"
    modes: ClassVar[dict[float, tuple[str, int, int]]] = {
        3.2: ("3200", 20, 64),
        2.4: ("2400", 20, 48),
        1.6: ("1600", 40, 64),
        1.4: ("1400", 40, 56),
        1.3: ("1300", 40, 52),
        1.2: ("1200", 40, 48),
        0.7: ("700C", 40, 28),
        0.45: ("450", 40, 18),
    }
    """kbps: name, ms of a frame, bits of a frame."""
    settings = "kbps of a mode: " + ", ".join(f"{kbps:g}" for kbps in modes)
    suffix = ".c2"
    rate: ClassVar[int] = 8000
    header_bytes: ClassVar[int] = 7

    def check(self) -> None:
        for program in ("c2enc", "c2dec"):
            need_program(program, "codec2", "codec2")
        if self.setting not in self.modes:
            raise UsageError(f"codec2 needs the kbps of a mode{_not(self.setting)}: {self.settings.split(': ')[1]}")

    def encode(self, source: Path, target: Path) -> None:
        wave, rate = read_audio(source)
        if wave.ndim == 2:
            raise UsageError("codec2 codes one channel; evaluate it on mono")
        narrow = resample(wave, rate, self.rate)
        frame = self.rate * self._mode[1] // 1000
        narrow = np.pad(narrow, (0, -len(narrow) % frame))  # c2enc drops what is less than a frame
        raw = target.with_suffix(".raw")
        np.clip(np.rint(narrow * 32768), -32768, 32767).astype("<i2").tofile(raw)
        run("c2enc", self._mode[0], raw, target)

    def decode(self, source: Path, target: Path) -> None:
        raw = target.with_suffix(".raw")
        run("c2dec", self._mode[0], source, raw)
        write_audio(target, np.fromfile(raw, "<i2").astype(np.float32) / 32768, self.rate)

    def payload_bytes(self, coded: Path) -> int:
        _, _, bits = self._mode
        frames = (coded.stat().st_size - self.header_bytes) // -(-bits // 8)
        return -(-frames * bits // 8)

    @property
    def _mode(self) -> tuple[str, int, int]:
        return self.modes[self.setting or 0.0]


class _Ffmpeg(Coder):
    """A codec of ffmpeg, in the container that ffmpeg gives it; the payload is what its packets hold."""

    encoder: ClassVar[str]
    least: ClassVar[float]
    most: ClassVar[float]

    def check(self) -> None:
        for program in ("ffmpeg", "ffprobe"):
            need_program(program, "ffmpeg", self.kind)
        if f" {self.encoder} " not in run("ffmpeg", "-hide_banner", "-encoders"):
            raise MissingPartError(f"{self.kind} needs an ffmpeg with the encoder {self.encoder}; apt-get install ffmpeg")
        if self.setting is None or not self.least <= self.setting <= self.most:
            limits = f"{self.least:g} to {self.most:g}"
            raise UsageError(f"{self.kind} needs a bitrate of {limits} kbps{_not(self.setting)}: {self.kind}@{self.most:g}")

    def version(self) -> str:
        return first_line("ffmpeg", "-version").split(" Copyright")[0]

    def options(self) -> list[object]:
        """What the encoder is told."""
        return ["-b:a", f"{self.setting:g}k"]

    def encode(self, source: Path, target: Path) -> None:
        exact = ("-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1")
        run("ffmpeg", "-v", "error", "-y", "-i", source, "-c:a", self.encoder, *self.options(), *exact, target)

    def decode(self, source: Path, target: Path) -> None:
        run("ffmpeg", "-v", "error", "-y", "-i", source, "-c:a", "pcm_s16le", target)

    def payload_bytes(self, coded: Path) -> int:
        listed = run("ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "default=nw=1:nk=1", coded)
        return sum(int(size) for size in listed.split())


@CODERS.register("mp3")
class Mp3(_Ffmpeg):
    """MPEG layer III at a constant bitrate."""

    kind = "mp3"
    source = "ISO/IEC 11172-3, 1993, layer III; LAME through ffmpeg"
    settings = "kbps, 8 to 320"
    suffix = ".mp3"
    encoder, least, most = "libmp3lame", 8, 320


@CODERS.register("aac")
class Aac(_Ffmpeg):
    """AAC-LC at an average bitrate, in an MP4 file."""

    kind = "aac"
    source = "ISO/IEC 13818-7, 1997, AAC-LC; ffmpeg's own encoder"
    settings = "kbps, 6 to 512; at low rates ffmpeg spends more than it is asked for"
    suffix = ".m4a"
    encoder, least, most = "aac", 6, 512


@CODERS.register("g722")
class G722(_Ffmpeg):
    """G.722, sub-band ADPCM of 16 kHz speech at 64 kbps."""

    kind = "g722"
    source = "ITU-T G.722, 1988; ffmpeg"
    settings = "none: it is always 64 kbps"
    suffix = ".g722"
    encoder, least, most = "g722", 64, 64

    def check(self) -> None:
        if self.setting not in (None, 64):
            raise UsageError("g722 has one bitrate, 64 kbps; write g722")
        self.setting, asked = 64, self.setting
        super().check()
        self.setting = asked

    def encode(self, source: Path, target: Path) -> None:
        if read_audio(source)[0].ndim == 2:
            raise UsageError("g722 codes one channel; evaluate it on mono")
        super().encode(source, target)

    def options(self) -> list[object]:
        return ["-ar", 16000, "-ac", 1]

    def payload_bytes(self, coded: Path) -> int:
        return coded.stat().st_size

    def decode(self, source: Path, target: Path) -> None:
        run("ffmpeg", "-v", "error", "-y", "-f", "g722", "-i", source, "-c:a", "pcm_s16le", target)
