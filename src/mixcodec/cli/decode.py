"""mixcodec decode: a .mxc file becomes a wav."""

from __future__ import annotations


def decode(
    input: str,
    /,
    *,
    output: str | None = None,
    model: str | None = None,
) -> None:
    """Decode a .mxc file into a 16-bit wav of the original's sample rate, channels and length.

    Args:
        input: .mxc file; - is standard input.
        output: File to write, also -o; - is standard output. By default the input's name with .wav, or with .decoded.wav where
            a wav of that name is there already.
        model: A shipped model or a model folder. By default the one that the file names.
    """
    from mixcodec.cli.paths import target_beside
    from mixcodec.cli.progress import progress_bar
    from mixcodec.runtime import decode_file

    target = output or target_beside(input, ".wav")
    with progress_bar("decoding") as progress:
        header = decode_file(model, input, target, progress)
    if target != "-":
        channels = f"{header.channels} channel{'s' * (header.channels > 1)}"
        print(f"{target}: {header.seconds:.2f} s, {channels}, {header.sample_rate} Hz")
