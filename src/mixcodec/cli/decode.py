"""mixcodec decode: a .mxc file becomes a wav."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixcodec.runtime.files import Decoded


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
    from mixcodec.cli.paths import summary_stream, target_beside
    from mixcodec.cli.progress import progress_bar
    from mixcodec.runtime import decode_file

    target = target_beside(input, ".wav") if output is None else output
    with progress_bar("decoding") as progress:
        read = decode_file(model, input, target, progress, lossy=lossy, variant=variant)
    out = summary_stream(target)
    if target != "-":
        channels = f"{read.header.channels} channel{'s' * (read.header.channels > 1)}"
        print(f"{target}: {read.seconds:.2f} s, {channels}, {read.header.sample_rate} Hz", file=out)
    if lossy:
        print(_lost(read), file=out)


def _lost(read: Decoded) -> str:
    """What of a file is not in the wav as it was coded."""
    seconds = sum(stop - start for start, stop in read.gaps)
    where = ", ".join(f"{start:.2f} to {min(stop, read.seconds):.2f} s" for start, stop in read.gaps)
    found = [f"{min(seconds, read.seconds):.2f} s ({where})"] if read.gaps else []
    if read.unwritten:
        found.append(f"{read.unwritten:.2f} s that the header promises and nothing bears out, which are not written")
    elif read.cut:
        found.append(f"what came after {read.seconds:.2f} s: the end of the file is missing, which says how long it is")
    return f"lost: {' and '.join(found)}" if found else "lost: nothing"
