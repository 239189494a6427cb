"""mixcodec info: what is inside a .mxc file or a model."""

from __future__ import annotations

import os


def info(what: str, /) -> None:
    """Show what is inside a .mxc file (which is checked from end to end; no model is needed) or a model.

    Args:
        what: .mxc file (- is standard input), name of a shipped model, or model folder.
    """
    from mixcodec.cli.table import columns

    is_file = what == "-" or (os.path.exists(what) and not os.path.isdir(what)) or what.lower().endswith(".mxc")
    print(columns(_file_rows(what) if is_file else _model_rows(what)))


def _file_rows(path: str) -> list[tuple[str, object]]:
    from mixcodec.bitstream import MxcReader
    from mixcodec.cli.table import real_kbps
    from mixcodec.files import display_name, seekable_input

    with seekable_input(path) as file:
        reader = MxcReader(file, display_name(path))
        for _ in reader.blocks():
            pass
        header, size = reader.header, reader.file_bytes
    return [
        ("file", f"{reader.name} (.mxc version {header.version})"),
        ("model", header.model),
        ("fingerprint", header.fingerprint),
        ("duration", f"{header.seconds:.3f} s ({header.sample_count} samples)"),
        ("signal", f"{header.sample_rate} Hz, {header.channels} channel{'s' * (header.channels > 1)}"),
        ("frames", f"{header.frames} at {float(header.frame_rate):g} Hz"),
        ("codes per frame", f"{header.codebooks} of {header.codebook_size}"),
        ("size", f"{size} bytes"),
        ("nominal bitrate", f"{header.kbps:.3f} kbps"),
        ("real bitrate", real_kbps(size, header.seconds)),
    ]


def _model_rows(name: str) -> list[tuple[str, object]]:
    from mixcodec.runtime import load

    codec = load(name)
    files = sorted(entry for entry in codec.config.folder.iterdir() if entry.is_file())
    low, high = codec.min_kbps(), codec.max_kbps()
    default = low * codec.config.default_codebooks
    return [
        ("model", codec.name),
        ("fingerprint", codec.fingerprint),
        ("folder", codec.config.folder),
        ("sample rate", f"{codec.sample_rate} Hz"),
        ("frames", f"{codec.frame_rate:g} Hz, {codec.hop} samples each"),
        ("codes per frame", f"{codec.codebooks} of {codec.codebook_size}"),
        ("bitrates", f"{low:g} to {high:g} kbps per channel in steps of {low:g}, by default {default:g}"),
        ("delay", f"{(codec.hop + codec.delay) / codec.sample_rate * 1000:g} ms"),
        *((entry.name, f"{entry.stat().st_size} bytes") for entry in files),
    ]
