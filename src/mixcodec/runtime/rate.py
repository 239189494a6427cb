"""How many codes a packet gets, so that a file as a whole, or a stream on average, keeps to a bitrate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixcodec.bitstream import Layout
from mixcodec.bitstream.coding import codes_to_payload
from mixcodec.bitstream.container import packet_frames_for
from mixcodec.entropy import Adaptive, ContextTables, EntropyModel
from mixcodec.entropy.model import Codes
from mixcodec.errors import UsageError
from mixcodec.tokens import ABSENT, code_bits

if TYPE_CHECKING:
    from mixcodec.runtime.codec import Codec

HORIZON_SECONDS = 4.0
"""Where the end is not known, what was saved or overspent is made up for over so long a time."""
LEARNING = 0.25
"""How much a packet changes what the next one's codes are expected to cost."""
STEADY = 0.02
"""Plans that differ by a smaller share from the one before stay as they were: a regular packet takes fewer bytes."""
TRIES = 6
STREAM_SECONDS = 4.0
"""Of sound in the packets that a stream of codes is thought to be written in."""
AROUND_PACKET = 5
"""Bytes of a packet beside those of its codes."""


def check_only_one(kbps: float | None, codebooks: int | None) -> None:
    """Raise UsageError where both a bitrate and a number of codebooks are asked for."""
    if kbps is not None and codebooks is not None:
        raise UsageError("a bitrate and a number of codebooks exclude each other; give one of them")


def coding_as_it_goes(codec: Codec) -> EntropyModel:
    """What codes cost where the signal is still arriving: by the model's tables, or learned on the way."""
    return ContextTables(codec.tables) if codec.tables else Adaptive(codec.codebook_size)


def control_as_it_goes(codec: Codec, channels: int, kbps: float) -> RateControl:
    """Of a signal of unknown length, whose codes cost as much as plain numbers as far as is known."""
    return RateControl(float(kbps), codec.frame_rate, codec.codebooks, channels * code_bits(codec.codebook_size) / 8)


class RateControl:
    """Gives each packet its number of codes per frame, a mixed number: some frames of a packet have one code more.

    What has been saved so far (in silence, say) or spent too much is spread over what is left.

    Args:
        kbps: all channels together, container included.
        frame_rate: Hz.
        codebooks: of the model.
        cost: bytes that one code of a frame (of all channels) is expected to take.
        overhead: bytes to spend beside the packets.
        frames: of the whole signal; None where it is not known.
        weights: what a code of each packet in turn costs, in parts of `cost`, where the signal is known: silence costs little,
            and what it leaves is spent on the rest.
    """

    def __init__(
        self,
        kbps: float,
        frame_rate: float,
        codebooks: int,
        cost: float,
        overhead: int = 0,
        frames: int | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        self._per_frame = kbps * 125 / frame_rate
        self._codebooks = codebooks
        self._cost = cost
        self._left = frames
        self._horizon = max(1, round(HORIZON_SECONDS * frame_rate))
        self._saved = -float(overhead)
        self._depth: float | None = None
        self._weights, self._packet = weights, 0
        self._heavier = 0.0  # by how much the frames taken so far weighed more than as many of the mean

    def plan(self, frames: int) -> Layout:
        """The layout of the next packet, of so many frames."""
        horizon = self._horizon if self._left is None else max(frames, self._left)
        weight = max(horizon - self._heavier, 1e-3)
        depth = (horizon * self._per_frame + self._saved) / (weight * self._cost)
        depth = min(max(depth, 1.0), float(self._codebooks))
        last = self._left is not None and self._left <= frames
        if self._depth is None or last or abs(depth - self._depth) > STEADY * self._depth:
            self._depth = depth
        return depth_to_layout(self._depth, frames)

    def took(self, layout: Layout, size: int) -> None:
        """Tell what the packet of that layout took, bytes."""
        self._saved += layout.frames * self._per_frame - size
        if self._left is not None:
            self._left -= layout.frames
        weight = self._weights[self._packet] if self._packet < len(self._weights) else 1.0
        self._packet += 1
        self._heavier += (weight - 1) * layout.frames
        cost = size / layout.codes / max(weight, 1e-3)
        self._cost += LEARNING * min(weight, 1.0) * (max(cost, 1e-3) - self._cost)


class RateKeeper:
    """Keeps as many codes of each frame of a stream as a bitrate pays for, on average.

    How many is planned for STREAM_SECONDS at a time, before they arrive, from what those before have cost.

    Args:
        codec: whose codes they are.
        channels: how many the codes have.
        kbps: of all channels together, entropy coded in packets of STREAM_SECONDS.
    """

    def __init__(self, codec: Codec, channels: int, kbps: float) -> None:
        self._coding = coding_as_it_goes(codec)
        self._control = control_as_it_goes(codec, channels, kbps)
        frames = packet_frames_for(channels, codec.codebooks, codec.packet_frames(STREAM_SECONDS))
        self._layout = self._control.plan(frames)
        self._packet: Codes = np.zeros((channels, 0, codec.codebooks), np.int64)

    def keep(self, codes: Codes) -> Codes:
        """The next codes (C, t, K) of the stream, ABSENT where they are not kept."""
        parts = [codes[:, :0]]
        while codes.shape[1]:
            at = self._packet.shape[1]
            piece, codes = np.split(codes, [self._layout.frames - at], axis=1)
            counts = self._layout.counts[at : at + piece.shape[1]]
            parts.append(np.where(np.arange(piece.shape[2]) < counts[:, None], piece, ABSENT))
            self._packet = np.concatenate([self._packet, parts[-1]], axis=1)
            if self._packet.shape[1] == self._layout.frames:
                size = len(codes_to_payload(self._coding, self._packet, self._layout)) + AROUND_PACKET
                self._control.took(self._layout, size)
                self._layout = self._control.plan(self._layout.frames)
                self._packet = self._packet[:, :0]
        return np.concatenate(parts, axis=1)


def depth_to_layout(depth: float, frames: int) -> Layout:
    """`depth` codes per frame, as nearly as a packet of so many frames can."""
    codes = round(depth * frames)
    return Layout(frames, *divmod(codes, frames))


def depth_for(target: float, measure: Callable[[float], float], codebooks: int, guess: float) -> tuple[float, float]:
    """The depth from 1 to `codebooks` for which `measure(depth)`, growing with depth, is `target`; and what it is there.

    By the method of the secant from `guess`, to a hundredth, in a few measurements.
    """
    low, high = (1.0, 0.0), (float(codebooks), 0.0)
    depth = min(max(guess, 1.0), float(codebooks))
    size = measure(depth)
    for _ in range(TRIES):
        if abs(size - target) <= 0.005 * target or (size > target and depth == 1) or (size < target and depth == codebooks):
            break
        low, high = ((depth, size), high) if size < target else (low, (depth, size))
        if low[1] and high[1]:
            step = low[0] + (target - low[1]) * (high[0] - low[0]) / (high[1] - low[1])
        else:
            step = depth * target / max(1.0, size)
        depth = min(max(step, low[0]), high[0])
        size = measure(depth)
    return depth, size
