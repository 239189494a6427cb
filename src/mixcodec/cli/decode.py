"""mixcodec decode: a .mxc file becomes a wav."""

from __future__ import annotations

import sys


def decode(
    input: str,
    /,
    *,
    output: str | None = None,
    model: str | None = None,
    variant: str | None = None,
    lossy: bool = False,
) -> None:
    """Decode a .mxc file into a 16-bit wav of the original's sample rate, channels and length.

    Args:
        input: .mxc file; - is standard input.
        output: File to write, also -o; - is standard output. By default the input's name with .wav, or with .decoded.wav where
            a wav of that name is there already.
        model: A shipped model or a model folder. By default the one that the file names.
        variant: Of the model's graphs, such as int8 (see mixcodec info MODEL). By default the plain ones.
        lossy: Decode what is whole of a damaged or cut file, conceal what is not, and say what was lost.
    """
    from mixcodec.cli.paths import target_beside
    from mixcodec.cli.progress import progress_bar
    from mixcodec.runtime import decode_file

    target = output or target_beside(input, ".wav")
    with progress_bar("decoding") as progress:
        read = decode_file(model, input, target, progress, lossy=lossy, variant=variant)
    out = sys.stderr if target == "-" else sys.stdout
    if target != "-":
        channels = f"{read.header.channels} channel{'s' * (read.header.channels > 1)}"
        print(f"{target}: {read.seconds:.2f} s, {channels}, {read.header.sample_rate} Hz")
    if lossy:
        lost = sum(stop - start for start, stop in read.gaps)
        where = ", ".join(f"{start:.2f} to {min(stop, read.seconds):.2f} s" for start, stop in read.gaps)
        print(f"lost: {min(lost, read.seconds):.2f} s ({where})" if read.gaps else "lost: nothing", file=out)
