"""The torch-free codec: loads a model folder, encodes, decodes, streams."""

from mixcodec.runtime.codec import Codec, load
from mixcodec.runtime.files import Decoded, MxcFile, decode_file, encode_file, read_mxc, write_mxc
from mixcodec.runtime.opened import OpenedMxc
from mixcodec.runtime.packets import PacketDecoder, PacketEncoder
from mixcodec.runtime.stream import StreamDecoder, StreamEncoder

__all__ = [
    "Codec",
    "Decoded",
    "MxcFile",
    "OpenedMxc",
    "PacketDecoder",
    "PacketEncoder",
    "StreamDecoder",
    "StreamEncoder",
    "decode_file",
    "encode_file",
    "load",
    "read_mxc",
    "write_mxc",
]
