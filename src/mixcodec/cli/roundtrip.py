"""mixcodec roundtrip: encode and decode, and say what it cost and what it did to the sound."""

from __future__ import annotations

import os

from mixcodec.models import DEFAULT_MODEL, PLAIN


def roundtrip(
    input: str,
    /,
    *,
    output: str | None = None,
    kbps: float | None = None,
    codebooks: int | None = None,
    model: str = DEFAULT_MODEL,
    variant: str | None = None,
) -> None:
    """Encode an audio file and decode it again; print duration, rate, sizes, mel distance and where the results are.

    Args:
        input: Audio file.
        output: The wav to write, also -o; the .mxc goes beside it. By default the input's name with .roundtrip.wav.
        kbps: Bitrate of the whole file, all channels together, kbps. By default the model's usual number of codebooks.
        codebooks: So many codebooks instead, whatever they cost: 1 to the model's.
        model: A shipped model (see mixcodec models) or a model folder.
        variant: Of the model's graphs, such as int8 (see mixcodec info MODEL). By default the plain ones.
    """
    from mixcodec.audio import check_audio_target
    from mixcodec.cli.progress import progress_bar
    from mixcodec.cli.table import codes_per_frame, columns, real_kbps
    from mixcodec.errors import UsageError
    from mixcodec.files import atomic_output, check_distinct, is_stream
    from mixcodec.runtime import decode_file, encode_file, load
    from mixcodec.runtime.mel import file_mel_distance

    wav = os.path.splitext(input)[0] + ".roundtrip.wav" if output is None else output
    mxc = os.path.splitext(wav)[0] + ".mxc"
    if any(map(is_stream, (input, wav, mxc))):
        raise UsageError("roundtrip works on files, not on standard input or output; use encode and decode for those")
    check_audio_target(wav)
    for target in (wav, mxc):
        check_distinct(target, input)
    check_distinct(mxc, wav)
    codec = load(model, variant=variant)
    with atomic_output(mxc) as coded, atomic_output(wav) as decoded:
        with progress_bar("encoding") as progress:
            made = encode_file(codec, input, coded, kbps, progress, codebooks=codebooks)
        coded.seek(0)
        with progress_bar("decoding") as progress:
            decode_file(codec, coded, decoded, progress)
    distance = file_mel_distance(input, wav, codec.sample_rate)
    header = made.header
    pcm_bytes = 2 * made.sample_count * header.channels
    print(
        columns(
            [
                ("model", codec.name if codec.variant == PLAIN else f"{codec.name}, {codec.variant}"),
                ("duration", f"{made.seconds:.2f} s"),
                ("signal", f"{header.sample_rate} Hz, {header.channels} channel{'s' * (header.channels > 1)}"),
                ("codebooks", f"{codes_per_frame(header)} of {codec.codebooks}"),
                ("size as 16-bit PCM", f"{pcm_bytes} bytes"),
                ("size as .mxc", f"{made.file_bytes} bytes"),
                ("nominal bitrate", f"{header.nominal_kbps:.3f} kbps"),
                ("real bitrate", real_kbps(made.file_bytes, made.seconds)),
                ("mel distance", f"{distance:.3f}"),
                ("tokens", mxc),
                ("sound", wav),
            ]
        )
    )
