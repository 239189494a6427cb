"""Sound as packets for a network, and back when some of them do not arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.arrays import shown
from mixcodec.audio import Wave, check_channels, check_sample_rate
from mixcodec.bitstream import Header, Layout, MxcWriter
from mixcodec.bitstream.coding import coding_for, payload_to_codes
from mixcodec.bitstream.container import packet_frames_for
from mixcodec.bitstream.header import CHECK_BYTES
from mixcodec.bitstream.packet import NUMBERS, packet_number, parse_packet_start
from mixcodec.errors import BitstreamError
from mixcodec.runtime.rate import coding_as_it_goes, control_as_it_goes
from mixcodec.runtime.stream import Stream

if TYPE_CHECKING:
    from mixcodec.runtime.codec import Codec

Codes = NDArray[np.int64]

PACKET_SECONDS = 1.0
MAX_GAP = 32
"""A packet that seems to come so many after the one expected is taken for that; more are taken for damage."""


class PacketEncoder(Stream):
    """A wave that is still arriving, as packets.

    The bytes of `start`, of all packets and of `end` after one another are a `.mxc` file.

    Args:
        codec: the codec.
        channels: None for mono chunks (n,), C for chunks (C, n).
        sample_rate: of the chunks, Hz; None is the codec's own.
        kbps: bitrate of the packets on average, all channels together; None for the model's usual number of codebooks.
        codebooks: so many codes of each frame instead.
        packet_seconds: sound in a packet, s.
        metadata: UTF-8 keys and values of the file.

    Attributes:
        header: the header of the file.
        start: its bytes.
        end: the end record, once the stream is finished; empty before.

    Raises:
        RateError, AudioError, UsageError, BitstreamError: an argument out of range.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        channels: int | None = None,
        sample_rate: int | None = None,
        kbps: float | None = None,
        codebooks: int | None = None,
        packet_seconds: float = PACKET_SECONDS,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        wanted = codec.packet_frames(packet_seconds)
        channels = check_channels(channels)
        codebooks = codec.codebooks_to_encode(kbps, codebooks, channels)
        nominal = codec.codebooks_for(kbps, channels or 1) if kbps is not None else codebooks
        self._encoder = codec.stream_encoder(channels=channels, sample_rate=sample_rate, codebooks=codebooks)
        rows = channels or 1
        frames = packet_frames_for(rows, codebooks, wanted)
        coding = coding_as_it_goes(codec)
        self.header = codec.header(
            coding,
            sample_rate=codec.sample_rate if sample_rate is None else check_sample_rate(sample_rate, "wave"),
            channels=rows,
            codebooks=nominal,
            most_codebooks=codebooks,
            packet_frames=frames,
            metadata=metadata,
        )
        self._control = None if kbps is None else control_as_it_goes(codec, rows, kbps)
        self._sent: list[bytes] = []
        self._writer = MxcWriter(self, self.header, coding)
        self._waiting: Codes = np.zeros((rows, 0, codebooks), np.int64)
        self.start = self._sent.pop()
        self.end = b""

    def write(self, data: bytes) -> None:
        """Take what the writer writes: the start, each packet, the end."""
        self._sent.append(data)

    def push(self, chunk: NDArray[Any]) -> list[bytes]:
        """Take the next samples, (n,) or (C, n) for any n; return the packets that are now whole.

        Raises:
            AudioError: see `StreamEncoder.push`.
        """
        self._take(self._encoder.push(chunk))
        return self._packets(self.header.packet_frames)

    def finish(self) -> list[bytes]:
        """End the signal; return the packets that are left, the last of them perhaps shorter. Then `end` is known.

        Raises:
            AudioError: a stream that has been finished.
        """
        self._take(self._encoder.finish())
        packets = self._packets(1)
        self._writer.finish(self._encoder.sample_count)
        self.end = self._sent.pop()
        return packets

    def _take(self, codes: Codes) -> None:
        rows = codes.reshape(len(self._waiting), -1, self._waiting.shape[2])
        self._waiting = np.concatenate([self._waiting, rows], axis=1)

    def _packets(self, least: int) -> list[bytes]:
        while self._waiting.shape[1] >= least:
            codes, self._waiting = np.split(self._waiting, [self.header.packet_frames], axis=1)
            frames = codes.shape[1]
            layout = self._control.plan(frames) if self._control else Layout(frames, self.header.codebooks, 0)
            size = self._writer.packet(codes, layout)
            if self._control:
                self._control.took(layout, size)
        packets, self._sent = self._sent, []
        return packets


class PacketDecoder(Stream):
    """Packets that are still arriving, as a wave.

    Args:
        codec: the codec that made them.
        header: what the stream began with.
        sample_count: samples per channel that the signal has, if known; the output is cut to it.

    Attributes:
        lost: frames concealed so far.

    Raises:
        TokensError, ModelError: another codec made them.
    """

    def __init__(self, codec: Codec, header: Header, *, sample_count: int | None = None) -> None:
        codec.check_origin(header.model, header.fingerprint)
        codec.check_layout(header.most_codebooks, header.codebook_size, float(header.frame_rate))
        self._header = header
        self._coding = coding_for(header, codec.tables)
        channels = None if header.channels == 1 else header.channels
        if sample_count is None and header.length is not None:
            sample_count = header.length[0]
        self._decoder = codec.stream_decoder(channels=channels, sample_rate=header.sample_rate, sample_count=sample_count)
        self._index = 0
        self.lost = 0

    def push(self, packet: bytes | bytearray | memoryview | None) -> Wave:
        """Take the next packet, or None for one that was lost; return the samples that are now certain.

        A packet that comes later than the one expected, by at most MAX_GAP, says so itself: the gap is concealed first.

        Returns:
            float32 (*channels, n), n >= 0.

        Raises:
            BitstreamError: the packet is damaged. Nothing has been taken: push None, or the packet once more.
        """
        if packet is None:
            return self._conceal(1)
        if not isinstance(packet, bytes | bytearray | memoryview):
            raise BitstreamError(f"is no packet of bytes, but {shown(packet)}")
        packet = bytes(packet)
        start = parse_packet_start(self._header, packet)
        if start is None or start.whole != len(packet):
            raise BitstreamError("is no whole packet")
        number = packet_number(start, packet)
        ahead = MAX_GAP + 1 if number is None else (number - self._index) % NUMBERS
        if ahead > MAX_GAP:
            raise BitstreamError(f"is damaged, or is not the packet number {self._index} or one soon after")
        payload = packet[start.size : -CHECK_BYTES]
        codes = payload_to_codes(self._coding, payload, self._header.channels, start.layout)
        gap = self._conceal(ahead)
        wave = self._decoder.push(codes[0] if self._header.channels == 1 else codes)
        self._index += 1
        return np.concatenate([gap, wave], axis=-1)

    def finish(self) -> Wave:
        """End the stream; return the samples (*channels, n) that are left.

        Raises:
            TokensError: the packets were too few for `sample_count`.
        """
        return self._decoder.finish()

    def _conceal(self, packets: int) -> Wave:
        self._index += packets
        self.lost += packets * self._header.packet_frames
        return self._decoder.conceal(packets * self._header.packet_frames)
