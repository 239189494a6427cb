"""The `.mxc` container. Its specification is docs/bitstream.md."""

from mixcodec.bitstream.coding import coding_for
from mixcodec.bitstream.container import bytes_to_tokens, read_mxc, tokens_to_bytes, write_mxc
from mixcodec.bitstream.header import VERSION, Header, parse_header
from mixcodec.bitstream.packet import Layout
from mixcodec.bitstream.reader import MxcReader, PacketStream
from mixcodec.bitstream.rescue import rescued_packets
from mixcodec.bitstream.writer import MxcWriter

__all__ = [
    "VERSION",
    "Header",
    "Layout",
    "MxcReader",
    "MxcWriter",
    "PacketStream",
    "bytes_to_tokens",
    "coding_for",
    "parse_header",
    "read_mxc",
    "rescued_packets",
    "tokens_to_bytes",
    "write_mxc",
]
