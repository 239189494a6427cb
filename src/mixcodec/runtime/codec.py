"""The torch-free codec: a model folder and its two graphs.

wave (*channels, N) --wave_to_tokens--> Tokens --tokens_to_wave--> wave (*channels, N)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixcodec.arrays import integer, number, shown, whole
from mixcodec.audio import Wave, check_channels, check_sample_rate, check_wave, resampled_count
from mixcodec.bitstream.header import MAX_PACKET_FRAMES, Header
from mixcodec.entropy import EntropyModel
from mixcodec.entropy.tables import ENTROPY, Tables, read_tables
from mixcodec.errors import AudioError, ModelError, RateError, TokensError, UsageError
from mixcodec.files import PathLike
from mixcodec.models import DEFAULT_MODEL, PLAIN, find_model, find_variant
from mixcodec.runtime.batch import MAX_THREADS, listed, on_threads
from mixcodec.runtime.config import ModelConfig, read_config
from mixcodec.runtime.rate import RateKeeper, check_only_one
from mixcodec.runtime.session import GraphSession, loading
from mixcodec.runtime.stream import StreamDecoder, StreamEncoder, frames_for
from mixcodec.tokens import MOST, Tokens, as_codes, code_bits

if TYPE_CHECKING:
    from mixcodec.runtime.opened import OpenedMxc
    from mixcodec.runtime.packets import PacketDecoder, PacketEncoder

RATE_TOLERANCE = 1e-6
"""How much of a codebook a bitrate may fall short by and still buy it: 0.5 kbps must not fail by a rounding error."""


def load(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL, threads: int = 1, variant: str | None = None) -> Codec:
    """Load a shipped model by its name, or a model folder by its path.

    Args:
        name_or_path: see `mixcodec.models.find_model`.
        threads: CPU threads that one run of a graph may use; 0 for as many as there are cores.
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
    config = replace(config, folder=Path(os.path.abspath(config.folder)))  # it must be found from any working directory
    return Codec(config, threads, variant)


class Codec:
    """A model that turns waves into tokens and back. Each graph is loaded when it is first needed.

    Any number of threads may use one codec at once. It can be pickled and copied, for a worker say: the copy has the same
    model, variant and threads, and loads its graphs anew from the model folder. So does a forked process.

    Attributes:
        config: everything the model folder says about itself.
        variant: of its graphs; see `mixcodec.models.VARIANTS`.
        threads: CPU threads that one run of a graph may use; 0 for as many as there are cores.
    """

    def __init__(self, config: ModelConfig, threads: int = 1, variant: str = PLAIN) -> None:
        self.config = config
        self.variant = variant
        self.threads = whole(threads, "threads", 0, MAX_THREADS, UsageError)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_encoder", "_decoder", "tables")}

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
        """The most codebooks that `kbps` (of all channels together) pays for before entropy coding; None asks for the default.

        Raises:
            RateError: `kbps` is no number between `min_kbps` and `max_kbps` of so many channels.
        """
        if kbps is None:
            return self.config.default_codebooks
        low, high = self.min_kbps(channels), self.max_kbps(channels)
        rate = number(kbps)
        if rate is None:
            raise RateError(f"a bitrate must be a number of kbps, not {shown(kbps)}")
        count = math.floor(rate / low + RATE_TOLERANCE) if math.isfinite(rate) else 0
        if count < 1 or rate > high * (1 + RATE_TOLERANCE):
            signal = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
            allowed = f"{low:g} to {high:g} kbps for {signal}"
            raise RateError(f"{rate:g} kbps is out of range; {self.name} can do {allowed}")
        return min(count, self.codebooks)

    def stream_encoder(
        self,
        *,
        channels: int | None = None,
        sample_rate: int | None = None,
        kbps: float | None = None,
        codebooks: int | None = None,
    ) -> StreamEncoder:
        """A fresh encoder for a signal that is still arriving.

        Without `kbps` its codes are those of `wave_to_tokens` on the whole signal. With it they are too, but it decides as it
        goes how many of each frame it keeps, and keeps to the rate on average, as `packet_encoder` does.

        Args:
            channels: None for mono chunks (n,), C for chunks (C, n).
            sample_rate: of the chunks, Hz; None is the codec's own.
            kbps: bitrate of the codes on average, all channels together, once they are entropy coded in packets of 4 s.
            codebooks: how many to use, instead of `kbps`; None is the model's default.

        Raises:
            RateError, AudioError: a bitrate, a number of codebooks, a sample rate or channels out of range.
            UsageError: both `kbps` and `codebooks`.
        """
        count = self.codebooks_to_encode(kbps, codebooks, channels)
        return StreamEncoder(
            self._encoder,
            codec_rate=self.sample_rate,
            hop=self.hop,
            delay=self.delay,
            sample_rate=self._rate(sample_rate),
            channels=check_channels(channels),
            codebooks=count,
            keeper=None if kbps is None else RateKeeper(self, check_channels(channels) or 1, kbps),
        )

    def stream_decoder(
        self, *, channels: int | None = None, sample_rate: int | None = None, sample_count: int | None = None
    ) -> StreamDecoder:
        """A fresh decoder for codes that are still arriving.

        Args:
            channels: None for codes (t, k), C for codes (C, t, k).
            sample_rate: wanted of the samples, Hz; None is the codec's own.
            sample_count: samples per channel that the signal has, if known; the output is cut to it.

        Raises:
            AudioError: a sample rate, channels or a sample count out of range.
        """
        return StreamDecoder(
            self._decoder,
            codec_rate=self.sample_rate,
            hop=self.hop,
            delay=self.delay,
            codebooks=self.codebooks,
            codebook_size=self.codebook_size,
            sample_rate=self._rate(sample_rate),
            channels=check_channels(channels),
            sample_count=None if sample_count is None else whole(sample_count, "sample_count", 0, MOST, AudioError),
        )

    def _rate(self, sample_rate: int | None) -> int:
        return self.sample_rate if sample_rate is None else check_sample_rate(sample_rate, "wave")

    def codebooks_to_encode(self, kbps: float | None, codebooks: int | None, channels: int | None) -> int:
        """How many codebooks to encode with, before a bitrate picks among their codes.

        Raises:
            RateError, AudioError: a bitrate, a number of codebooks or channels out of range.
            UsageError: both `kbps` and `codebooks`.
        """
        check_only_one(kbps, codebooks)
        if kbps is not None:
            self.codebooks_for(kbps, check_channels(channels) or 1)
            return self.codebooks
        return self.config.default_codebooks if codebooks is None else self.check_codebooks(codebooks)

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
        *,
        channels: int | None = None,
        sample_rate: int | None = None,
        kbps: float | None = None,
        codebooks: int | None = None,
        packet_seconds: float = 1.0,
        metadata: Mapping[str, str] | None = None,
    ) -> PacketEncoder:
        """A fresh encoder of a signal that is still arriving into packets for a network; see `PacketEncoder`."""
        from mixcodec.runtime.packets import PacketEncoder

        return PacketEncoder(
            self,
            channels=channels,
            sample_rate=sample_rate,
            kbps=kbps,
            codebooks=codebooks,
            packet_seconds=packet_seconds,
            metadata=metadata,
        )

    def packet_decoder(self, header: Header, *, sample_count: int | None = None) -> PacketDecoder:
        """A fresh decoder of packets, some of which may not arrive; see `PacketDecoder`."""
        from mixcodec.runtime.packets import PacketDecoder

        return PacketDecoder(self, header, sample_count=sample_count)

    def packet_frames(self, seconds: float) -> int:
        """The frames of a packet of so many seconds. Raises UsageError where the format has no such packets."""
        length = number(seconds)
        frames = round(length * self.frame_rate) if length is not None and 0 < length < math.inf else 0
        if not 1 <= frames <= MAX_PACKET_FRAMES:
            least, most = 1 / self.frame_rate, MAX_PACKET_FRAMES / self.frame_rate
            told = shown(seconds) if length is None else f"{length:g} s"
            raise UsageError(f"packets of {told} cannot be had; choose {least:g} to {most:g} s")
        return frames

    def open(self, path: PathLike) -> OpenedMxc:
        """Open a `.mxc` file that this codec made, to decode any part of it; see `OpenedMxc`.

        Raises:
            FileError, BitstreamError, ModelError: it cannot be opened, is no intact `.mxc` file at its beginning and end, or
                was made by another model.
        """
        from mixcodec.runtime.opened import OpenedMxc

        return OpenedMxc(self, path)

    def wave_to_tokens(self, wave: Any, sample_rate: int, kbps: float | None = None, *, codebooks: int | None = None) -> Tokens:
        """Encode a wave.

        Args:
            wave: (N,) or (C, N), an array, a torch tensor or lists; N may be 0. Float samples in [-1, 1], or PCM as int16, int32
                or uint8; see `mixcodec.audio.check_wave`.
            sample_rate: Hz; the wave is resampled where the codec's differs.
            kbps: bitrate of the `.mxc` file of these tokens, all channels together: as many codes of each frame are kept as
                `encode_file` keeps, so that some frames may have one more than others. The file's header, of some 70 bytes, is
                part of it, which leaves few codes to a signal of a second. Where even all codes, or one a frame, cannot be
                made to cost that, the nearest.
            codebooks: so many codes of each frame instead, whatever they cost; None is the model's default.

        Raises:
            AudioError, RateError: a wave, a sample rate, a bitrate or a number of codebooks that cannot be coded.
            UsageError: both `kbps` and `codebooks`.
        """
        return self._wave_to_tokens(check_wave(wave), sample_rate, kbps, codebooks)

    def _wave_to_tokens(self, wave: Wave, sample_rate: int, kbps: float | None, codebooks: int | None) -> Tokens:
        channels = None if wave.ndim == 1 else wave.shape[0]
        sample_rate = check_sample_rate(sample_rate, "wave")
        books = self.codebooks_to_encode(kbps, codebooks, channels)
        encoder = self.stream_encoder(channels=channels, sample_rate=sample_rate, codebooks=books)
        codes = np.concatenate([encoder.take(wave), encoder.finish()], axis=-2)
        tokens = Tokens(
            codes=codes,
            frame_rate=self.frame_rate,
            sample_count=wave.shape[-1],
            sample_rate=sample_rate,
            codebook_size=self.codebook_size,
            model=self.name,
            fingerprint=self.fingerprint,
        )
        if kbps is None:
            return tokens
        from mixcodec.runtime.files import fill_rate

        return fill_rate(self, tokens, kbps)

    def tokens_to_wave(self, tokens: Tokens) -> Wave:
        """Decode to float32 (*channels, sample_count) at the tokens' own sample rate.

        Raises:
            TokensError: the tokens are another model's, or do not fit their own sample count.
        """
        if not isinstance(tokens, Tokens):
            raise TokensError(f"tokens_to_wave takes Tokens, not {shown(tokens)}; bare codes go to codes_to_wave")
        self.check_origin(tokens.model, tokens.fingerprint)
        self.check_layout(tokens.codebooks, tokens.codebook_size, tokens.frame_rate)
        self.check_frames(tokens.frames, tokens.sample_count, tokens.sample_rate)
        return self.codes_to_wave(tokens.codes, tokens.sample_rate, tokens.sample_count)

    def codes_to_wave(self, codes: Any, sample_rate: int | None = None, sample_count: int | None = None) -> Wave:
        """Decode bare codes, such as a language model's.

        Args:
            codes: integers in [0, codebook_size), (T, k) for mono or (C, T, k) for C channels, of any integer type: an array, a
                torch tensor or lists. T may be 0; k is 1 to the codec's number of codebooks, the coarsest first. Frames may
                have fewer codes than others: see `Tokens`. A batch goes to `decode_batch`, as a list.
            sample_rate: wanted of the wave, Hz; None is the codec's own.
            sample_count: samples per channel, if known; the wave is cut to it.

        Returns:
            float32 (N,) or (C, N). Without `sample_count`, N is all that T frames hold: T * hop - delay samples at the codec's
            own rate (none for a frame that is no longer than the delay), and as many as that is at another.

        Raises:
            TokensError: codes of another shape or kind, out of range, or too few for `sample_count`.
            AudioError: a sample rate or a sample count out of range.
        """
        codes = as_codes(codes)
        if codes.ndim not in (2, 3):
            advice = "; give codes[:, None]" if codes.ndim == 1 and self.codebooks == 1 else ""
            raise TokensError(f"codes must be of shape (T, k) or (C, T, k), not {codes.shape}{advice}")
        if codes.shape[-1] > self.codebooks >= codes.shape[-2] > 0:
            turned = (*codes.shape[:-2], codes.shape[-1], codes.shape[-2])
            raise TokensError(f"codes of shape {codes.shape} look like (k, T): give (T, k), which is {turned}")
        channels = None if codes.ndim == 2 else codes.shape[0]
        decoder = self.stream_decoder(channels=channels, sample_rate=sample_rate, sample_count=sample_count)
        return np.concatenate([decoder.push(codes), decoder.finish()], axis=-1)

    def codes_to_tokens(self, codes: Any, sample_rate: int | None = None, sample_count: int | None = None) -> Tokens:
        """Tokens of bare codes, such as a language model's: what `write_mxc` writes as a file.

        Args:
            codes: see `codes_to_wave`.
            sample_rate: of the signal, Hz; None is the codec's own.
            sample_count: samples per channel of the signal; None is all that the frames hold, see `codes_to_wave`.

        Raises:
            TokensError: codes of another shape or kind, out of range, or not as many as the samples take.
            AudioError: a sample rate or a sample count out of range.
        """
        codes, rate = as_codes(codes), self._rate(sample_rate)
        if codes.ndim not in (2, 3):
            raise TokensError(f"codes must be of shape (T, k) or (C, T, k), not {codes.shape}")
        if sample_count is None:
            inner = max(0, codes.shape[-2] * self.hop - self.delay)
            sample_count = inner * rate // self.sample_rate
        tokens = Tokens(
            codes=codes,
            frame_rate=self.frame_rate,
            sample_count=whole(sample_count, "sample_count", 0, MOST, AudioError),
            sample_rate=rate,
            codebook_size=self.codebook_size,
            model=self.name,
            fingerprint=self.fingerprint,
        )
        self.check_layout(tokens.codebooks, tokens.codebook_size, tokens.frame_rate)
        self.check_frames(tokens.frames, tokens.sample_count, tokens.sample_rate)
        return tokens

    def encode_batch(
        self,
        waves: Iterable[Any],
        sample_rate: int | Sequence[int],
        *,
        kbps: float | None = None,
        codebooks: int | None = None,
        threads: int | None = None,
    ) -> list[Tokens]:
        """Encode several waves, of any lengths and channels, on several threads.

        The tokens are those of `wave_to_tokens` on each wave alone, bit for bit: nothing is padded.

        Args:
            waves: each (N,) or (C, N), see `wave_to_tokens`; an array (B, N) is B waves.
            sample_rate: of all of them, or a list with that of each, Hz.
            kbps, codebooks: of each, see `wave_to_tokens`.
            threads: so many waves at a time; None for as many as there are cores that this process may use. A codec that was
                loaded with more than one thread uses those for each.

        Raises:
            AudioError, RateError, UsageError: as `wave_to_tokens`; the message names the wave.
        """
        every = listed(waves, "waves")
        one = getattr(sample_rate, "ndim", None) == 0 or not isinstance(sample_rate, Iterable) or isinstance(sample_rate, str)
        rates: Any = [sample_rate] * len(every) if one else list(sample_rate)  # type: ignore[arg-type]
        if len(rates) != len(every):
            raise UsageError(f"there are {len(rates)} sample rates for {len(every)} waves; give one for all, or one for each")

        def encode(index: int) -> Tokens:
            name = f"waves[{index}]"
            rate = check_sample_rate(rates[index], name)
            return self._wave_to_tokens(check_wave(every[index], name), rate, kbps, codebooks)

        return on_threads(encode, range(len(every)), threads)

    def decode_batch(
        self, items: Iterable[Tokens | Any], sample_rate: int | None = None, *, threads: int | None = None
    ) -> list[Wave]:
        """Decode several signals, of any lengths and channels, on several threads.

        Args:
            items: each Tokens, or bare codes as `codes_to_wave` takes them; an array (B, T, k) is B mono signals.
            sample_rate: of what comes of bare codes, Hz; None is the codec's own. Tokens have their own.
            threads: so many at a time; see `encode_batch`.

        Returns:
            For each the wave of `tokens_to_wave`, or of `codes_to_wave`, on it alone.

        Raises:
            TokensError, AudioError: as those; the message names the item.
        """

        every = listed(items, "items")

        def decode(index: int) -> Wave:
            item = every[index]
            try:
                return self.tokens_to_wave(item) if isinstance(item, Tokens) else self.codes_to_wave(item, sample_rate)
            except TokensError as error:
                raise TokensError(f"items[{index}]: {error}") from None

        return on_threads(decode, range(len(every)), threads)

    def check_codebooks(self, codebooks: int) -> int:
        """`codebooks` as an int, if the codec has so many. Raises RateError."""
        count = integer(codebooks)
        if count is None:
            raise RateError(f"codebooks must be a whole number, not {shown(codebooks)}")
        if not 1 <= count <= self.codebooks:
            raise RateError(f"{shown(count)} codebooks cannot be had; {self.name} has 1 to {self.codebooks}")
        return count

    @cached_property
    def tables(self) -> Tables | None:
        """The entropy tables of the model folder; None where it has none.

        Raises:
            ModelError: they are malformed, or another model's.
        """
        path = self.config.folder / ENTROPY
        if not os.path.lexists(path):
            return None
        tables = read_tables(path)
        made_for, mine = (tables.size, len(tables.books)), (self.codebook_size, self.codebooks)
        if made_for != mine or self.config.tables not in (None, f"{tables.fingerprint:08x}"):
            told = f"{self.name} has {mine[1]} codebooks of {mine[0]} codes"
            if made_for == mine:
                told = f"{self.name} has {self.config.tables}, not {tables.fingerprint:08x}"
            raise ModelError(f"{path}: holds the tables of another model ({told}); export the model again")
        return tables

    def check_origin(self, model: str, fingerprint: str) -> None:
        """Raise TokensError where tokens were made by another model than this one."""
        if not self.config.understands(fingerprint):
            theirs, mine = f"{model} {fingerprint}", f"{self.name} {self.fingerprint}"
            raise TokensError(f"was made by model {theirs}, not by {mine}; decode it with that model (--model)")

    def check_layout(self, codebooks: int, codebook_size: int, frame_rate: float) -> None:
        """Raise TokensError where codes cannot be this model's."""
        if codebooks > self.codebooks or codebook_size != self.codebook_size or frame_rate != self.frame_rate:
            theirs = f"{codebooks} codebooks of {codebook_size} codes at {frame_rate:g} Hz"
            mine = f"{self.codebooks} of {self.codebook_size} at {self.frame_rate:g} Hz"
            raise TokensError(f"holds {theirs}, but {self.name} has {mine}; encode it again")

    def check_frames(self, frames: int, sample_count: int, sample_rate: int) -> None:
        """Raise TokensError where `frames` frames are not those of so many samples at `sample_rate` Hz.

        A sample may lack: a part of tokens does not always end where a whole sample does. See `Tokens.__getitem__`.
        """
        counts = (resampled_count(count, sample_rate, self.sample_rate) for count in (sample_count, sample_count + 1))
        least, most = (frames_for(inner, self.hop, self.delay) for inner in counts)
        if not least <= frames <= most:
            raise TokensError(f"holds {frames} frames where {sample_count} samples take {least}; encode it again")

    @property
    def _encoder(self) -> GraphSession:
        return self._session("encoder")

    @property
    def _decoder(self) -> GraphSession:
        return self._session("decoder")

    def _session(self, direction: str) -> GraphSession:
        """The graph of one direction, loaded by the first thread that asks for it."""
        kept = f"_{direction}"
        session: GraphSession | None = vars(self).get(kept)
        if session is None:
            with loading():
                session = vars(self).get(kept) or GraphSession(direction, self.config, self.threads, self.variant)
                vars(self)[kept] = session
        return session
