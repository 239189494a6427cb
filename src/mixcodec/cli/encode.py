"""mixcodec encode: audio becomes a .mxc file."""

from __future__ import annotations

from mixcodec.models import DEFAULT_MODEL


def encode(
    input: str,
    /,
    *,
    output: str | None = None,
    kbps: float | None = None,
    codebooks: int | None = None,
    packet_seconds: float = 4.0,
    metadata: tuple[str, ...] = (),
    model: str = DEFAULT_MODEL,
    variant: str | None = None,
) -> None:
    """Encode an audio file (wav, flac, ogg, mp3, opus; any sample rate, any channels) into a .mxc file.

    Args:
        input: Audio file; - is standard input.
        output: File to write, also -o; - is standard output. By default the input's name with .mxc.
        kbps: Bitrate of the whole file, all channels together, kbps; less where all codebooks take less. By default the model's
            usual number of codebooks.
        codebooks: So many codebooks instead, whatever they cost: 1 to the model's.
        packet_seconds: Sound in a packet: damage to a file costs as much, and each costs four to six bytes.
        metadata: KEY=VALUE to keep in the file, any number of them.
        model: A shipped model (see mixcodec models) or a model folder.
        variant: Of the model's graphs, such as int8 (see mixcodec info MODEL). By default the plain ones.
    """
    from mixcodec.cli.paths import summary_stream, target_beside
    from mixcodec.cli.progress import progress_bar
    from mixcodec.cli.table import codes_per_frame, key_values, real_kbps
    from mixcodec.runtime import encode_file, load

    target = target_beside(input, ".mxc") if output is None else output
    with progress_bar("encoding") as progress:
        made = encode_file(
            load(model, variant=variant),
            input,
            target,
            kbps,
            progress,
            codebooks=codebooks,
            packet_seconds=packet_seconds,
            metadata=key_values(metadata),
        )
    if target != "-":
        rate = real_kbps(made.file_bytes, made.seconds)
        if kbps is not None and made.file_bytes * 8 < 0.95 * kbps * 1000 * made.seconds:
            rate += f" (all codebooks take less than {kbps:g})"
        said = f"{target}: {made.seconds:.2f} s, {codes_per_frame(made.header)} codebooks, {made.file_bytes} bytes, {rate}"
        print(said, file=summary_stream(target))
