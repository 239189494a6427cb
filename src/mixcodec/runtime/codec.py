"""The torch-free codec: a model folder and its two graphs.

wave (*channels, N) --wave_to_tokens--> Tokens --tokens_to_wave--> wave (*channels, N)
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.audio import Wave, check_sample_rate, check_wave, resampled_count
from mixcodec.bitstream.header import MAX_PACKET_FRAMES, Header
from mixcodec.entropy import EntropyModel
from mixcodec.entropy.tables import ENTROPY, Tables, read_tables
from mixcodec.errors import ModelError, RateError, TokensError, UsageError
from mixcodec.files import PathLike
from mixcodec.models import DEFAULT_MODEL, PLAIN, find_model, find_variant, graph_name
from mixcodec.runtime.config import ModelConfig, read_config
from mixcodec.runtime.session import GraphSession
from mixcodec.runtime.stream import StreamDecoder, StreamEncoder, frames_for
from mixcodec.tokens import Tokens, code_bits

if TYPE_CHECKING:
    from mixcodec.runtime.opened import OpenedMxc
    from mixcodec.runtime.packets import PacketDecoder, PacketEncoder

RATE_TOLERANCE = 1e-6
"""How much of a codebook a bitrate may fall short by and still buy it: 0.5 kbps must not fail by a rounding error."""


def load(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL, threads: int = 1, variant: str | None = None) -> Codec:
    """Load a shipped model by its name, or a model folder by its path.

    Args:
        name_or_path: see `mixcodec.models.find_model`.
        threads: CPU threads that one run of a graph may use.
        variant: of the graphs, see `mixcodec.models.find_variant`; None is the model's plain ones.

    Raises:
        ModelError: it is not there, or cannot be used.
    """
    folder = find_model(name_or_path)
    config = read_config(folder)
    home, variant = find_variant(folder, variant)
    if home != folder:
        if (own := read_config(home)).fingerprint != config.fingerprint:
            theirs = f"were made of other weights ({own.fingerprint}) than those of {folder} ({config.fingerprint})"
            raise ModelError(f"{home}: its graphs {theirs}; make them again with mixcodec variant {folder} {variant} {home}")
        config = own
    return Codec(config, threads, variant)


class Codec:
    """A model that turns waves into tokens and back. Each graph is loaded when it is first needed.

    Attributes:
        config: everything the model folder says about itself.
        variant: of its graphs; see `mixcodec.models.VARIANTS`.
    """

    def __init__(self, config: ModelConfig, threads: int = 1, variant: str = PLAIN) -> None:
        self.config = config
        self.variant = variant
        self._threads = threads

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.config.name

    @property
    def fingerprint(self) -> str:
        """128 bits in hex that change with the weights."""
        return self.config.fingerprint

    @property
    def sample_rate(self) -> int:
        """Rate at which the codec works, Hz."""
        return self.config.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames per second, Hz."""
        return self.config.frame_rate

    @property
    def hop(self) -> int:
        """Samples per frame at the codec's rate."""
        return self.config.hop

    @property
    def delay(self) -> int:
        """Samples (at the codec's rate) by which decoded frames lag behind encoded ones."""
        return self.config.delay

    @property
    def codebooks(self) -> int:
        """K, codes per frame at the highest rate."""
        return self.config.codebooks

    @property
    def codebook_size(self) -> int:
        """Codes in a codebook."""
        return self.config.codebook_size

    def codebook_kbps(self, channels: int = 1) -> float:
        """What one codebook costs for `channels` channels together, kbps."""
        return self.frame_rate * code_bits(self.codebook_size) * channels / 1000

    def min_kbps(self, channels: int = 1) -> float:
        """The lowest bitrate of a signal of `channels` channels, all together, kbps."""
        return self.codebook_kbps(channels)

    def max_kbps(self, channels: int = 1) -> float:
        """The highest bitrate of a signal of `channels` channels, all together, kbps."""
        return self.codebook_kbps(channels) * self.codebooks

    def codebooks_for(self, kbps: float | None, channels: int = 1) -> int:
        """The most codebooks that `kbps` (of all channels together) pays for; None asks for the model's default.

        Raises:
            RateError: `kbps` is no number between `min_kbps` and `max_kbps` of so many channels.
        """
        if kbps is None:
            return self.config.default_codebooks
        low, high = self.min_kbps(channels), self.max_kbps(channels)
        count = math.floor(kbps / low + RATE_TOLERANCE) if math.isfinite(kbps) else 0
        if count < 1 or kbps > high * (1 + RATE_TOLERANCE):
            signal = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
            allowed = f"{low:g} to {high:g} kbps for {signal}"
            raise RateError(f"{kbps:g} kbps is out of range; {self.name} can do {allowed}")
        return min(count, self.codebooks)

    def stream_encoder(
        self,
        channels: int | None = None,
        kbps: float | None = None,
        sample_rate: int | None = None,
        codebooks: int | None = None,
    ) -> StreamEncoder:
        """A fresh encoder for a signal that is still arriving.

        Args:
            channels: None for mono chunks (n,), C for chunks (C, n).
            kbps: of all channels together; None is the model's default.
            sample_rate: of the chunks, Hz; None is the codec's own.
            codebooks: how many to use, instead of `kbps`.

        Raises:
            RateError, AudioError: a bitrate, a number of codebooks or a sample rate out of range.
        """
        sample_rate = self.sample_rate if sample_rate is None else sample_rate
        check_sample_rate(sample_rate, "wave")
        return StreamEncoder(
            self._encoder,
            codec_rate=self.sample_rate,
            hop=self.hop,
            delay=self.delay,
            sample_rate=sample_rate,
            channels=channels,
            codebooks=self.codebooks_for(kbps, channels or 1) if codebooks is None else self.check_quality(codebooks),
        )

    def stream_decoder(
        self, channels: int | None = None, sample_rate: int | None = None, sample_count: int | None = None
    ) -> StreamDecoder:
        """A fresh decoder for codes that are still arriving.

        Args:
            channels: None for codes (t, k), C for codes (C, t, k).
            sample_rate: wanted of the samples, Hz; None is the codec's own.
            sample_count: samples per channel that the signal has, if known; the output is cut to it.

        Raises:
            AudioError: a sample rate out of range.
        """
        sample_rate = self.sample_rate if sample_rate is None else sample_rate
        check_sample_rate(sample_rate, "wave")
        return StreamDecoder(
            self._decoder,
            codec_rate=self.sample_rate,
            hop=self.hop,
            delay=self.delay,
            codebooks=self.codebooks,
            codebook_size=self.codebook_size,
            sample_rate=sample_rate,
            channels=channels,
            sample_count=sample_count,
        )

    def codebooks_to_encode(self, kbps: float | None, quality: int | None, channels: int) -> int:
        """How many codebooks to encode with, before a bitrate picks among their codes.

        Raises:
            RateError: a bitrate or a quality out of range.
        """
        if kbps is not None:
            self.codebooks_for(kbps, channels)
            return self.codebooks
        return self.config.default_codebooks if quality is None else self.check_quality(quality)

    def header(
        self,
        coding: EntropyModel,
        *,
        sample_rate: int,
        channels: int,
        codebooks: int,
        most_codebooks: int,
        packet_frames: int,
        length: tuple[int, int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Header:
        """The header of a file of this codec's codes; see `Header`. Raises BitstreamError where it breaks a limit."""
        return Header(
            model=self.name,
            fingerprint=self.fingerprint,
            sample_rate=sample_rate,
            channels=channels,
            codebooks=codebooks,
            more=0,
            most_codebooks=most_codebooks,
            codebook_size=self.codebook_size,
            frame_rate=Fraction(self.sample_rate, self.hop),
            packet_frames=packet_frames,
            coding=coding.number,
            tables=coding.mark,
            length=length,
            metadata=metadata or {},
        )

    def packet_encoder(
        self,
        channels: int | None = None,
        sample_rate: int | None = None,
        kbps: float | None = None,
        *,
        quality: int | None = None,
        packet_seconds: float = 1.0,
    ) -> PacketEncoder:
        """A fresh encoder of a signal that is still arriving into packets for a network; see `PacketEncoder`."""
        from mixcodec.runtime.packets import PacketEncoder

        return PacketEncoder(self, channels, sample_rate, kbps, quality=quality, packet_seconds=packet_seconds)

    def packet_decoder(self, header: Header, sample_count: int | None = None) -> PacketDecoder:
        """A fresh decoder of packets, some of which may not arrive; see `PacketDecoder`."""
        from mixcodec.runtime.packets import PacketDecoder

        return PacketDecoder(self, header, sample_count)

    def packet_frames(self, seconds: float) -> int:
        """The frames of a packet of so many seconds. Raises UsageError where the format has no such packets."""
        frames = round(seconds * self.frame_rate) if 0 < seconds < math.inf else 0
        if not 1 <= frames <= MAX_PACKET_FRAMES:
            least, most = 1 / self.frame_rate, MAX_PACKET_FRAMES / self.frame_rate
            raise UsageError(f"packets of {seconds:g} s cannot be had; choose {least:g} to {most:g} s")
        return frames

    def open(self, path: PathLike) -> OpenedMxc:
        """Open a `.mxc` file that this codec made, to decode any part of it; see `OpenedMxc`.

        Raises:
            FileError, BitstreamError, ModelError: it cannot be opened, is no intact `.mxc` file at its beginning and end, or
                was made by another model.
        """
        from mixcodec.runtime.opened import OpenedMxc

        return OpenedMxc(self, path)

    def wave_to_tokens(self, wave: NDArray[Any], sample_rate: int, kbps: float | None = None) -> Tokens:
        """Encode a wave.

        Args:
            wave: float samples in [-1, 1], (N,) or (C, N); N may be 0.
            sample_rate: Hz; the wave is resampled where the codec's differs.
            kbps: of all channels together; None is the model's default.

        Raises:
            AudioError, RateError: a wave, a sample rate or a bitrate that cannot be coded.
        """
        wave = check_wave(wave)
        encoder = self.stream_encoder(None if wave.ndim == 1 else wave.shape[0], kbps, sample_rate)
        codes = np.concatenate([encoder.push(wave), encoder.finish()], axis=-2)
        return Tokens(
            codes=codes,
            frame_rate=self.frame_rate,
            sample_count=wave.shape[-1],
            sample_rate=sample_rate,
            codebook_size=self.codebook_size,
            model=self.name,
            fingerprint=self.fingerprint,
        )

    def tokens_to_wave(self, tokens: Tokens) -> Wave:
        """Decode to float32 (*channels, sample_count) at the tokens' own sample rate.

        Raises:
            TokensError: the tokens are another model's, or do not fit their own sample count.
        """
        self.check_origin(tokens.model, tokens.fingerprint)
        self.check_layout(tokens.codebooks, tokens.codebook_size, tokens.frame_rate)
        self.check_frames(tokens.frames, tokens.sample_count, tokens.sample_rate)
        channels = None if tokens.codes.ndim == 2 else tokens.channels
        decoder = self.stream_decoder(channels, tokens.sample_rate, tokens.sample_count)
        return np.concatenate([decoder.push(tokens.codes), decoder.finish()], axis=-1)

    def check_quality(self, codebooks: int) -> int:
        """`codebooks`, if the codec has so many. Raises RateError."""
        if not 1 <= codebooks <= self.codebooks:
            raise RateError(f"{codebooks} codebooks cannot be had; {self.name} has 1 to {self.codebooks}")
        return codebooks

    @cached_property
    def tables(self) -> Tables | None:
        """The entropy tables of the model folder; None where it has none.

        Raises:
            ModelError: they are malformed.
        """
        path = self.config.folder / ENTROPY
        return read_tables(path) if path.is_file() else None

    def check_origin(self, model: str, fingerprint: str) -> None:
        """Raise TokensError where tokens were made by another model than this one."""
        if fingerprint != self.fingerprint:
            theirs, mine = f"{model} {fingerprint}", f"{self.name} {self.fingerprint}"
            raise TokensError(f"was made by model {theirs}, not by {mine}; decode it with that model (--model)")

    def check_layout(self, codebooks: int, codebook_size: int, frame_rate: float) -> None:
        """Raise TokensError where codes cannot be this model's."""
        if codebooks > self.codebooks or codebook_size != self.codebook_size or frame_rate != self.frame_rate:
            theirs = f"{codebooks} codebooks of {codebook_size} codes at {frame_rate:g} Hz"
            mine = f"{self.codebooks} of {self.codebook_size} at {self.frame_rate:g} Hz"
            raise TokensError(f"holds {theirs}, but {self.name} has {mine}; encode it again")

    def check_frames(self, frames: int, sample_count: int, sample_rate: int) -> None:
        """Raise TokensError where `frames` frames are not those of so many samples at `sample_rate` Hz."""
        inner = resampled_count(sample_count, sample_rate, self.sample_rate)
        if frames != (expected := frames_for(inner, self.hop, self.delay)):
            raise TokensError(f"holds {frames} frames where {sample_count} samples take {expected}; encode it again")

    def graph(self, direction: str) -> Path:
        """The file of the "encoder" or the "decoder"."""
        return self.config.folder / graph_name(direction, self.variant)

    @cached_property
    def _encoder(self) -> GraphSession:
        return GraphSession(self.graph("encoder"), "wave", "codes", self.config.encoder_state, self._threads)

    @cached_property
    def _decoder(self) -> GraphSession:
        return GraphSession(self.graph("decoder"), "codes", "wave", self.config.decoder_state, self._threads)
