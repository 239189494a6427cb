"""mixcodec encode: audio becomes a .mxc file."""

from __future__ import annotations

from mixcodec.models import DEFAULT_MODEL


def encode(
    input: str,
    /,
    *,
    output: str | None = None,
    kbps: float | None = None,
    model: str = DEFAULT_MODEL,
) -> None:
    """Encode an audio file (wav, flac, ogg, mp3, opus; any sample rate, any channels) into a .mxc file.

    Args:
        input: Audio file; - is standard input.
        output: File to write, also -o; - is standard output. By default the input's name with .mxc.
        kbps: Bitrate of all channels together, kbps. By default the model's own.
        model: A shipped model (see mixcodec models) or a model folder.
    """
    from mixcodec.cli.paths import target_beside
    from mixcodec.cli.progress import progress_bar
    from mixcodec.cli.table import real_kbps
    from mixcodec.runtime import encode_file, load

    target = output or target_beside(input, ".mxc")
    with progress_bar("encoding") as progress:
        header = encode_file(load(model), input, target, kbps, progress)
    if target != "-":
        size = header.file_bytes
        rate = real_kbps(size, header.seconds)
        print(f"{target}: {header.seconds:.2f} s, {header.codebooks} codebooks, {size} bytes, {rate}")
