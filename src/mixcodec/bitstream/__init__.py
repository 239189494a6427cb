"""The `.mxc` container. Its specification is docs/bitstream.md."""

from mixcodec.bitstream.container import MxcReader, MxcWriter, bytes_to_tokens, read_mxc, tokens_to_bytes, write_mxc
from mixcodec.bitstream.header import VERSION, Header, parse_header

__all__ = [
    "VERSION",
    "Header",
    "MxcReader",
    "MxcWriter",
    "bytes_to_tokens",
    "parse_header",
    "read_mxc",
    "tokens_to_bytes",
    "write_mxc",
]
