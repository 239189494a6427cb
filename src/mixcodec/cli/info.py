"""mixcodec info: what is inside a .mxc file or a model."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixcodec.runtime.config import StateSpec

PLOT_WIDTH = 60
BARS = "▁▂▃▄▅▆▇█"


def info(what: str, /, *, plot: bool = False, time: bool = False) -> None:
    """Show what is inside a .mxc file (which is checked from end to end; no model is needed) or a model.

    Args:
        what: .mxc file (- is standard input), name of a shipped model, or model folder.
        plot: Show too how many bits each packet of the file takes.
        time: Time each variant of the model beside its plain graphs, and say whether it is worth using on this machine.
    """
    from mixcodec.cli.table import columns

    is_file = what == "-" or (os.path.exists(what) and not os.path.isdir(what)) or what.lower().endswith(".mxc")
    rows, bitrates = _file_rows(what) if is_file else (_model_rows(what), [])
    print(columns(rows))
    if plot and bitrates:
        print("\n".join(_plot(bitrates)))
    if time and not is_file:
        print("\n".join(_gains(what)))


def _gains(name: str) -> list[str]:
    """What each variant of a model gains here."""
    from mixcodec.models import PLAIN, find_model, variant_folders
    from mixcodec.runtime.speed import told, variant_gain

    found = list(variant_folders(find_model(name)))
    variants = [variant for variant in found if variant != PLAIN]
    if not variants or PLAIN not in found:
        return [f"{name} has no variants to time beside its {PLAIN} graphs"]
    return [told(variant, variant_gain(name, variant)) for variant in variants]


def _file_rows(path: str) -> tuple[list[tuple[str, object]], list[float]]:
    """What to print, and the bitrate of each packet, kbps."""
    from mixcodec.bitstream import MxcReader
    from mixcodec.cli.table import codes_per_frame, real_kbps
    from mixcodec.entropy import KINDS
    from mixcodec.files import display_name, seekable_input
    from mixcodec.tokens import code_bits

    codes = payload = 0
    bitrates = []
    with seekable_input(path) as file:
        reader = MxcReader(file, display_name(path))
        end, header, size = reader.verify(), reader.header, reader.file_bytes
        for packet in reader.packets():
            codes += packet.layout.codes * header.channels
            payload += len(packet.payload)
            bitrates.append(packet.size * float(header.frame_rate) / packet.layout.frames / 125)
    seconds = end.sample_count / header.sample_rate
    coding = KINDS.get(header.coding, f"unknown, number {header.coding}")
    bits = f"{8 * payload / codes:.3f} bits a code of {code_bits(header.codebook_size)}" if codes else "no codes"
    return [
        ("file", f"{reader.name} (.mxc version {header.version})"),
        ("model", header.model),
        ("fingerprint", header.fingerprint),
        ("duration", f"{seconds:.3f} s ({end.sample_count} samples)"),
        ("signal", f"{header.sample_rate} Hz, {header.channels} channel{'s' * (header.channels > 1)}"),
        ("frames", f"{end.frames} at {float(header.frame_rate):g} Hz"),
        ("codes per frame", f"{codes_per_frame(header)} of {header.codebook_size}, at most {header.most_codebooks}"),
        ("entropy coding", f"{coding}, {bits}" + (f", tables {header.tables:08x}" if header.tables else "")),
        ("packets", f"{end.packets} of {header.packet_frames} frames; {len(end.seek)} seek entries"),
        ("size", f"{size} bytes: {payload} of codes, {size - payload} around them"),
        ("nominal bitrate", f"{header.nominal_kbps:.3f} kbps"),
        ("real bitrate", real_kbps(size, seconds)),
        ("length in header", "yes" if header.length else "no, at the end (written as a stream)"),
        *((f"metadata {_shown(key)}", _shown(value)) for key, value in sorted(header.metadata.items())),
    ], bitrates


def _shown(text: str) -> str:
    """`text` as it is if that prints in one line and does nothing to the terminal, else quoted."""
    return text if text.isprintable() else repr(text)


def _plot(bitrates: list[float]) -> list[str]:
    """A bar for each packet, or for the mean of some, from 0 to the largest."""
    step = -(-len(bitrates) // PLOT_WIDTH)
    means = [sum(part) / len(part) for part in (bitrates[i : i + step] for i in range(0, len(bitrates), step))]
    top = max(means) or 1.0
    bars = "".join(BARS[min(len(BARS) - 1, int(mean / top * len(BARS)))] for mean in means)
    each = "packet" if step == 1 else f"{step} packets"
    return [f"kbps by packet, {min(bitrates):.3f} to {max(bitrates):.3f}; a bar is {each}, the highest {top:.3f}:", bars]


def _state_bytes(state: Mapping[str, StateSpec]) -> int:
    return sum(math.prod(spec.shape) * (8 if spec.dtype == "int64" else 4) for spec in state.values())


def _model_rows(name: str) -> list[tuple[str, object]]:
    from mixcodec.models import VARIANTS, variant_folders
    from mixcodec.runtime import load

    codec = load(name)
    variants = list(variant_folders(codec.config.folder))
    files = sorted(entry for entry in codec.config.folder.iterdir() if entry.is_file())
    low, high = codec.min_kbps(), codec.max_kbps()
    default = low * codec.config.default_codebooks
    kept = [_state_bytes(state) for state in (codec.config.encoder_state, codec.config.decoder_state)]
    return [
        ("model", codec.name),
        ("fingerprint", codec.fingerprint),
        ("folder", codec.config.folder),
        ("sample rate", f"{codec.sample_rate} Hz"),
        ("frames", f"{codec.frame_rate:g} Hz, {codec.hop} samples each"),
        ("codes per frame", f"{codec.codebooks} of {codec.codebook_size}"),
        ("bitrates", f"{low:g} to {high:g} kbps per channel in steps of {low:g}, by default {default:g}"),
        ("delay", f"{(codec.hop + codec.delay) / codec.sample_rate * 1000:g} ms"),
        ("state of a stream", f"encoder {kept[0]} bytes, decoder {kept[1]} bytes"),
        ("variants", ", ".join(variants)),
        *((variant, VARIANTS[variant]) for variant in variants if variant in VARIANTS),
        *((entry.name, f"{entry.stat().st_size} bytes") for entry in files),
    ]
