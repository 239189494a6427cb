"""The torch-free codec: loads a model folder, encodes, decodes, streams."""

from mixcodec.runtime.codec import Codec, load
from mixcodec.runtime.files import decode_file, encode_file
from mixcodec.runtime.stream import StreamDecoder, StreamEncoder

__all__ = ["Codec", "StreamDecoder", "StreamEncoder", "decode_file", "encode_file", "load"]
