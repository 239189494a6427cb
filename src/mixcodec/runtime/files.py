"""Whole files, block by block: audio into `.mxc` and back, in memory that does not grow with their length."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from mixcodec.audio import AudioReader, AudioWriter, check_audio_target
from mixcodec.bitstream import Header, MxcReader, MxcWriter
from mixcodec.errors import BitstreamError, FileError, ModelError, RateError, TokensError
from mixcodec.files import PathLike, atomic_output, display_name, same_file, seekable_input
from mixcodec.models import shipped_models
from mixcodec.runtime.codec import Codec, load

Progress = Callable[[float, float], None]
"""Is told the seconds of audio done and the seconds there are."""


def encode_file(
    codec: Codec, source: PathLike, target: PathLike, kbps: float | None = None, progress: Progress | None = None
) -> Header:
    """Encode an audio file into a `.mxc` file; ``-`` is standard input or output.

    Returns:
        The header of the written file.

    Raises:
        FileError, AudioError, RateError: the input cannot be read, the target not written, or the bitrate not reached.
    """
    _check_distinct(source, target)
    with AudioReader(source) as reader:
        channels = None if reader.channels == 1 else reader.channels
        try:
            codebooks = codec.codebooks_for(kbps, reader.channels)
        except RateError as error:
            raise RateError(f"{reader.name}: {error}") from None
        draft = Header(
            model=codec.name,
            fingerprint=codec.fingerprint,
            sample_rate=reader.sample_rate,
            sample_count=0,
            channels=reader.channels,
            frames=0,
            codebooks=codebooks,
            codebook_size=codec.codebook_size,
            frame_rate=Fraction(codec.sample_rate, codec.hop),
        )
        encoder = codec.stream_encoder(channels, kbps, reader.sample_rate)
        with atomic_output(target) as file:
            writer = MxcWriter(file, draft)
            for block in reader.blocks():
                writer.append(encoder.push(block))
                if progress:
                    progress(encoder.sample_count / reader.sample_rate, reader.sample_count / reader.sample_rate)
            writer.append(encoder.finish())
            return writer.finish(encoder.sample_count)


def decode_file(codec: Codec | str | None, source: PathLike, target: PathLike, progress: Progress | None = None) -> Header:
    """Decode a `.mxc` file into a wav file; ``-`` is standard input or output.

    Args:
        codec: the codec, the name or folder of its model, or None for the shipped model that the file names.

    Returns:
        The header of the file that was read.

    Raises:
        FileError, BitstreamError, ModelError: the input is not intact or another model's, the model is not there, or
            the target cannot be written.
    """
    _check_distinct(source, target)
    check_audio_target(target)
    with seekable_input(source) as stream:
        reader = MxcReader(stream, display_name(source))
        header = reader.header
        if not isinstance(codec, Codec):
            codec = _codec_for(codec, reader)
        try:
            codec.check_origin(header.model, header.fingerprint)
            codec.check_layout(header.codebooks, header.codebook_size, float(header.frame_rate))
            codec.check_frames(header.frames, header.sample_count, header.sample_rate)
        except TokensError as error:
            raise BitstreamError(f"{reader.name}: {error}") from None
        channels = None if header.channels == 1 else header.channels
        decoder = codec.stream_decoder(channels, header.sample_rate, header.sample_count)
        with atomic_output(target) as file:
            writer = AudioWriter(file, header.sample_rate, header.channels, header.sample_count)
            done = 0
            for codes in reader.blocks(_block_frames(header.channels)):
                wave = decoder.push(codes)
                writer.write(wave)
                done += wave.shape[-1]
                if progress:
                    progress(done / header.sample_rate, header.seconds)
            writer.write(decoder.finish())
            writer.finish()
    return header


def _codec_for(model: str | None, reader: MxcReader) -> Codec:
    if model is not None:
        return load(model)
    name = reader.header.model
    if name not in shipped_models():
        raise ModelError(f"{reader.name}: was made by model {name}, which is not shipped; give its folder with --model")
    return load(name)


def _block_frames(channels: int) -> int:
    """Frames to read at once: a multiple of 8, at most about a thousand over all channels."""
    return max(8, 1000 // channels // 8 * 8)


def _check_distinct(source: PathLike, target: PathLike) -> None:
    if same_file(source, target):
        raise FileError(f"{target}: is the input itself; choose another target with -o")
