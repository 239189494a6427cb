"""Whole files, block by block: audio into `.mxc` and back, in memory that does not grow with their length."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mixcodec import bitstream
from mixcodec.audio import AudioReader, AudioWriter, check_audio_target
from mixcodec.bitstream import Header, Layout, MxcReader, MxcWriter, coding_for
from mixcodec.bitstream.coding import codes_to_payload
from mixcodec.bitstream.container import cheapest_coding, decoded_packets, packet_frames_for
from mixcodec.bitstream.packet import SEEK_STEP
from mixcodec.bitstream.rescue import MAX_LOST_FRAMES, rescued_packets
from mixcodec.bitstream.writer import Sink
from mixcodec.entropy import EntropyModel, Tables
from mixcodec.errors import BitstreamError, ModelError, RateError, TokensError
from mixcodec.files import Source, Target, atomic_output, check_distinct, display_name, seekable_input, temporary_file
from mixcodec.models import shipped_models
from mixcodec.runtime.codec import Codec, load
from mixcodec.runtime.rate import RateControl, check_only_one, depth_for, depth_to_layout
from mixcodec.tokens import ABSENT, Tokens

Codes = NDArray[np.int64]
Progress = Callable[[float, float], None]
"""Is told the seconds of audio done and the seconds there are."""

PACKET_SECONDS = 4.0
"""Of sound in a packet of a file: shorter ones lose less when one is damaged, and cost four to six bytes each."""
SPOOL_BYTES = 1 << 20
"""Codes that wait in memory: an hour of eight codebooks takes three times as much."""
CODING_TRIALS, RATE_TRIALS = 3, 16
"""At most so many packets, evenly over the file, are coded to choose the entropy coding, and to find what a bitrate buys."""


@dataclass(frozen=True)
class MxcFile:
    """What a `.mxc` file is, once it is written or read: its header, the signal's length per channel, its size."""

    header: Header
    sample_count: int
    file_bytes: int

    @property
    def seconds(self) -> float:
        """Duration of the signal, s."""
        return self.sample_count / self.header.sample_rate


@dataclass(frozen=True)
class Decoded(MxcFile):
    """A `.mxc` file that has been decoded.

    Attributes:
        gaps: from which second to which sound was concealed, because packets were damaged or missing.
        unwritten: seconds that the header promises beyond what there is, so many that they are not believed.
        cut: the end is missing, and with it what says how long the signal was; there may have been more.
    """

    gaps: tuple[tuple[float, float], ...] = ()
    unwritten: float = 0.0
    cut: bool = False


class CodeSpool:
    """Codes on their way into a file: (C, t, K) appended in blocks, read again from any frame; on disk where they are many."""

    def __init__(self, channels: int, codebooks: int) -> None:
        self.channels, self.codebooks = self._shape = (channels, codebooks)
        self._file: BinaryIO = io.BytesIO()
        self.frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, codes: Codes) -> None:
        """Take codes (*channels, t, K)."""
        rows = codes.reshape(self._shape[0], -1, self._shape[1]).swapaxes(0, 1)
        self._file.write(np.ascontiguousarray(rows, "<u2").tobytes())
        self.frames += rows.shape[0]
        if isinstance(self._file, io.BytesIO) and self._file.tell() > SPOOL_BYTES:
            on_disk = temporary_file()
            on_disk.write(self._file.getbuffer())
            self._file = on_disk

    def read(self, start: int, frames: int) -> Codes:
        """The codes (C, at most `frames`, K) from frame `start` on."""
        width = 2 * self._shape[0] * self._shape[1]
        self._file.seek(start * width)
        flat = np.frombuffer(self._file.read(frames * width), "<u2").astype(np.int64)
        return np.ascontiguousarray(flat.reshape(-1, *self._shape).swapaxes(0, 1))

    def packets(self, frames: int) -> Iterator[Codes]:
        """All codes, packet by packet of so many frames."""
        return (self.read(start, frames) for start in range(0, self.frames, frames))

    def sample(self, frames: int, packets: int) -> list[Codes]:
        """The codes of at most `packets` packets of so many frames, evenly over the signal."""
        starts = range(0, self.frames, frames)
        return [self.read(start, frames) for start in starts[:: -(-len(starts) // packets) or 1]]


def encode_file(
    codec: Codec,
    source: Source,
    target: Target,
    kbps: float | None = None,
    progress: Progress | None = None,
    *,
    codebooks: int | None = None,
    packet_seconds: float = PACKET_SECONDS,
    metadata: Mapping[str, str] | None = None,
) -> MxcFile:
    """Encode an audio file into a `.mxc` file.

    Args:
        source, target: paths (``-`` is standard input or output), or open binary files; the source may be the bytes of a file.
        kbps: bitrate of the whole file, all channels together, after entropy coding; where even all codebooks, or one alone,
            cannot be made to cost that, the nearest. None codes with the model's usual number of codebooks.
        codebooks: so many codes of each frame instead, whatever they cost; 1 to the codec's number of codebooks.
        packet_seconds: sound in a packet, s.
        metadata: UTF-8 keys and values to keep in the file.

    Raises:
        FileError, AudioError, RateError, BitstreamError: the input cannot be read, the target not written, the bitrate not
            reached, or the metadata not kept.
        UsageError: both `kbps` and `codebooks`, or an impossible `packet_seconds`.
    """
    check_distinct(target, source)
    check_only_one(kbps, codebooks)
    with AudioReader(source) as reader:
        try:
            books = codec.codebooks_to_encode(kbps, codebooks, reader.channels)
        except RateError as error:
            raise RateError(f"{reader.name}: {error}") from None
        channels = None if reader.channels == 1 else reader.channels
        wanted = codec.packet_frames(packet_seconds)
        encoder = codec.stream_encoder(channels=channels, sample_rate=reader.sample_rate, codebooks=books)
        with CodeSpool(reader.channels, books) as spool, atomic_output(target) as file:
            for block in reader.blocks():
                spool.append(encoder.take(block))
                if progress:
                    progress(encoder.sample_count / reader.sample_rate, reader.sample_count / reader.sample_rate)
            spool.append(encoder.finish())
            length = (encoder.sample_count, spool.frames)
            header, coding = _header(codec, spool, reader.sample_rate, length, wanted, metadata)
            write = _write if kbps is None else functools.partial(_write_at_rate, kbps=float(kbps))
            header, size = write(file, header, coding, spool)
            return MxcFile(header, encoder.sample_count, size)


def fill_rate(codec: Codec, tokens: Tokens, kbps: float) -> Tokens:
    """Of tokens with all codebooks of `codec`, as many codes of each frame as `encode_file` keeps at that bitrate."""
    length = (tokens.sample_count, tokens.frames)
    layouts: list[Layout] = []
    with CodeSpool(tokens.channels, tokens.codebooks) as spool:
        spool.append(tokens.codes)
        wanted = codec.packet_frames(PACKET_SECONDS)
        header, coding = _header(codec, spool, tokens.sample_rate, length, wanted)
        _write_at_rate(_Nowhere(), header, coding, spool, float(kbps), layouts.append)
    counts = np.concatenate([layout.counts for layout in layouts] or [np.full(0, tokens.codebooks)])
    most = int(counts.max(initial=1))
    kept = np.where(np.arange(most) < counts[:, None], tokens.codes[..., :most], ABSENT)
    return replace(tokens, codes=kept)


class _Nowhere:
    """Takes the bytes of a file of which only the size counts."""

    def write(self, data: bytes, /) -> None:
        """Take `data`."""


def _header(
    codec: Codec,
    spool: CodeSpool,
    sample_rate: int,
    length: tuple[int, int],
    packet_frames: int,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Header, EntropyModel]:
    """The header of a file of these codes, all of them, and the coding that takes the fewest bytes for them."""
    frames = packet_frames_for(spool.channels, spool.codebooks, packet_frames)
    trial = [(codes, Layout(codes.shape[1], spool.codebooks, 0)) for codes in spool.sample(frames, CODING_TRIALS)]
    coding = cheapest_coding(trial, codec.codebook_size, codec.tables)
    header = codec.header(
        coding,
        sample_rate=sample_rate,
        channels=spool.channels,
        codebooks=spool.codebooks,
        most_codebooks=spool.codebooks,
        packet_frames=frames,
        length=length,
        metadata=metadata,
    )
    return header, coding


def _write(file: Sink, header: Header, coding: EntropyModel, spool: CodeSpool) -> tuple[Header, int]:
    writer = MxcWriter(file, header, coding)
    for codes in spool.packets(header.packet_frames):
        writer.packet(codes)
    return header, writer.finish(_samples(header))


def _write_at_rate(
    file: Sink,
    header: Header,
    coding: EntropyModel,
    spool: CodeSpool,
    kbps: float,
    told: Callable[[Layout], None] = lambda layout: None,
) -> tuple[Header, int]:
    """Write with as many codes as the bitrate buys. How many that is, is found out on a sample of the packets; then what each
    packet costs with so many, beside the others. `told` gets the layout of every packet."""
    target = kbps * 125 * _samples(header) / header.sample_rate
    packets = -(-spool.frames // header.packet_frames)
    end = 11 + 3 * (packets // SEEK_STEP)
    overhead = len(header.to_bytes()) + end
    around = 5 * packets
    trial = spool.sample(header.packet_frames, RATE_TRIALS)
    share = sum(codes.shape[1] for codes in trial) / max(1, spool.frames)

    def measure(trial: Iterable[Codes], depth: float) -> float:
        return sum(len(codes_to_payload(coding, codes, depth_to_layout(depth, codes.shape[1]))) for codes in trial)

    wanted, most = (target - overhead - around) * share, header.most_codebooks
    depth, _ = depth_for(wanted, functools.partial(measure, trial), most, most / 2)
    starts = range(0, spool.frames, header.packet_frames)
    costs = [(measure([codes], depth) + 5) / (depth * codes.shape[1]) for codes in spool.packets(header.packet_frames)]
    mean = sum(cost * min(header.packet_frames, spool.frames - start) for cost, start in zip(costs, starts, strict=True))
    cost = mean / spool.frames if costs else 1.0
    weights = [each / cost for each in costs]
    control = RateControl(kbps, float(header.frame_rate), most, cost, overhead, spool.frames, weights)
    usual = control.plan(header.packet_frames)
    header = replace(header, codebooks=usual.codebooks, more=usual.more)
    writer = MxcWriter(file, header, coding)
    for start, codes in zip(starts, spool.packets(header.packet_frames), strict=True):
        layout = control.plan(codes.shape[1])
        if start + codes.shape[1] == spool.frames:  # the last one: what is left is spent to the byte
            wanted = target - writer.size - end - 8
            depth, _ = depth_for(wanted, functools.partial(measure, [codes]), most, layout.codes / layout.frames)
            layout = depth_to_layout(depth, layout.frames)
        control.took(layout, writer.packet(codes, layout))
        told(layout)
    return header, writer.finish(_samples(header))


def _samples(header: Header) -> int:
    return header.length[0] if header.length else 0


def decode_file(
    codec: Codec | str | None,
    source: Source,
    target: Target,
    progress: Progress | None = None,
    *,
    lossy: bool = False,
    variant: str | None = None,
) -> Decoded:
    """Decode a `.mxc` file into a wav file.

    Args:
        source, target: paths (``-`` is standard input or output), or open binary files; the source may be the bytes of a file.
        codec: the codec, the name or folder of its model, or None for the shipped model that the file names.
        lossy: decode what is whole of a damaged file, and conceal what is not. Otherwise such a file is an error.
        variant: of the graphs, where `codec` is no codec yet; see `load`.

    Raises:
        FileError, BitstreamError, ModelError: the input is not intact or another model's, the model is not there, or
            the target cannot be written.
    """
    check_distinct(target, source)
    check_audio_target(target)
    with seekable_input(source) as stream:
        reader = MxcReader(stream, display_name(source))
        codec = codec if isinstance(codec, Codec) else codec_for(reader.header, reader.name, codec, variant)
        coding = checked_coding(codec, reader)
        header = reader.header
        sample_count, frames = _rescued_length(codec, reader) if lossy else reader.verify().length
        promised = header.length[0] if header.length else None
        try:
            codec.check_frames(frames, sample_count, header.sample_rate)
        except TokensError as error:
            raise BitstreamError(f"{reader.name}: {error}") from None
        channels = None if header.channels == 1 else header.channels
        decoder = codec.stream_decoder(channels=channels, sample_rate=header.sample_rate, sample_count=sample_count)
        gaps: list[tuple[float, float]] = []
        at = 0
        with atomic_output(target) as file:
            writer = AudioWriter(file, header.sample_rate, header.channels, sample_count)
            for piece in _pieces(reader, coding, frames, lossy):
                if isinstance(piece, int):
                    gaps.append((at / codec.frame_rate, (at + piece) / codec.frame_rate))
                    for start in range(0, piece, header.packet_frames):
                        writer.write(decoder.conceal(min(header.packet_frames, piece - start)))
                    at += piece
                else:
                    writer.write(decoder.push(piece[0] if header.channels == 1 else piece))
                    at += piece.shape[1]
                if progress:
                    progress(at / codec.frame_rate, sample_count / header.sample_rate)
            writer.write(decoder.finish())
            writer.finish()
    unwritten = max(0, (promised or 0) - sample_count) / header.sample_rate
    cut = promised is None and not reader.end_position
    return Decoded(header, sample_count, reader.file_bytes, tuple(gaps), unwritten, cut)


def _pieces(reader: MxcReader, coding: EntropyModel, frames: int, lossy: bool) -> Iterator[Codes | int]:
    """The codes (C, t, K) of packet after packet; instead of those that are lost, how many frames they had."""
    if not lossy:
        yield from decoded_packets(reader, coding, reader.packets())
        return
    at = 0
    for packet in rescued_packets(reader):
        start = packet.index * reader.header.packet_frames
        if start + packet.layout.frames > frames:
            break
        try:
            codes = next(decoded_packets(reader, coding, [packet]))
        except BitstreamError:
            continue
        if start > at:
            yield start - at
        yield codes
        at = start + codes.shape[1]
    if frames > at:
        yield frames - at


def _rescued_length(codec: Codec, reader: MxcReader) -> tuple[int, int]:
    """Samples and frames of a file that may be damaged: as the header or the end say, or else up to the last whole packet.

    A header that speaks of much more than the packets reach, where the end is lost, is not believed either.
    """
    try:
        return reader.end().length
    except BitstreamError:
        length = reader.header.length
        if length is not None and length[1] <= MAX_LOST_FRAMES:
            return length
    frames = 0
    for packet in rescued_packets(reader):
        frames = packet.index * reader.header.packet_frames + packet.layout.frames
    if length is not None and length[1] <= frames + MAX_LOST_FRAMES:
        return length
    inner = frames * codec.hop - codec.delay
    samples = max(0, inner * reader.header.sample_rate // codec.sample_rate)
    return samples, frames if samples else 0


def codec_for(header: Header, name: str, model: str | None = None, variant: str | None = None) -> Codec:
    """The codec of `model`, or of the shipped model that a header names; `name` is what messages call the file. See `load`.

    Raises:
        ModelError: it is not there.
    """
    if model is None and header.model not in shipped_models():
        raise ModelError(f"{name}: was made by model {header.model}, which is not shipped; give its folder with --model")
    return load(model or header.model, variant=variant)


def checked_coding(codec: Codec, reader: MxcReader) -> EntropyModel:
    """The entropy coding of a file that `codec` is to decode.

    Raises:
        BitstreamError, ModelError: it was made by another model, or with other tables.
    """
    header = reader.header
    try:
        codec.check_origin(header.model, header.fingerprint)
        codec.check_layout(header.most_codebooks, header.codebook_size, float(header.frame_rate))
        return coding_for(header, codec.tables)
    except TokensError as error:
        raise BitstreamError(f"{reader.name}: {error}") from None
    except (BitstreamError, ModelError) as error:
        raise type(error)(f"{reader.name}: {error}") from None


def read_mxc(source: Source, codec: Codec | None = None) -> Tokens:
    """Read a whole `.mxc` file.

    Args:
        source: its path (``-`` is standard input), its bytes, or an open binary file, which is read from where it stands to its
            end and not closed.
        codec: the codec that made it; None looks for a shipped model of that name where its tables are needed.

    Raises:
        FileError, BitstreamError, ModelError: it cannot be opened, is not an intact `.mxc` file, or was coded with tables
            that are not there.
    """
    return bitstream.read_mxc(source, lambda header: _tables(header.model, codec))


def write_mxc(target: Target, tokens: Tokens, codec: Codec | None = None, metadata: Mapping[str, str] | None = None) -> None:
    """Write tokens as a `.mxc` file.

    Args:
        target: its path (``-`` is standard output), or an open binary file, such as an io.BytesIO; it is not closed.
        codec: the codec that made them; None looks for a shipped model of that name. Its tables make the file smaller.
        metadata: UTF-8 keys and values to keep in the file.

    Raises:
        BitstreamError: the tokens or the metadata break a limit of the format.
        FileError: the target cannot be written.
    """
    if codec is None and tokens.model in shipped_models():
        shipped = load(tokens.model)
        codec = shipped if shipped.config.understands(tokens.fingerprint) else None
    bitstream.write_mxc(target, tokens, codec.tables if codec else None, metadata)


def _tables(model: str, codec: Codec | None) -> Tables | None:
    if codec is None and model not in shipped_models():
        return None
    return (codec or load(model)).tables
