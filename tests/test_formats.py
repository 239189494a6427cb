"""What sound files declare beside what is in them: nothing is lost without a word. The oracle is the wave that was written."""

import io
import struct
import subprocess
import warnings
import zlib

import numpy as np
import pytest
import soundfile

from mixcodec.audio import AudioReader, read_audio
from mixcodec.contents import Contents, Window
from mixcodec.errors import AudioError, AudioWarning
from mixcodec.formats import flac, mpeg, ogg, survey

RATE, COUNT = 16000, 24000
PLAIN = ["wav", "rf64", "w64", "aiff", "au", "caf", "sph", "voc"]
FORMATS = {"rf64": "RF64", "w64": "W64", "sph": "NIST", "opus": "OGG"}
UNKNOWN = 0xFFFFFFFF


def tone(count=COUNT, seed=0):
    sine = 0.3 * np.sin(np.arange(count) / 20)
    return np.round((sine + 0.02 * np.random.default_rng(seed).standard_normal(count)) * 32768).astype(np.float32) / 32768


def coded(form, wave=None, rate=RATE, subtype=None):
    """The bytes of a wave in a format."""
    file = io.BytesIO()
    subtype = "OPUS" if form == "opus" else subtype or (None if form in ("ogg", "mp3") else "PCM_16")
    soundfile.write(file, tone() if wave is None else wave, rate, format=FORMATS.get(form, form.upper()), subtype=subtype)
    return file.getvalue()


def patched(data, *patches):
    """`data` with other bytes at some places; a place is a number or a mark and how far behind its beginning."""
    out = bytearray(data)
    for place, behind, instead in patches:
        start = (place if isinstance(place, int) else data.index(place)) + behind
        out[start : start + len(instead)] = instead
    return bytes(out)


def read(data):
    """The wave in the bytes of a file, and what was said of them."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wave, _ = read_audio(data)
    return wave, [str(warning.message).removeprefix("the bytes: ") for warning in said]


def check_whole(data, wave=None, times=1):
    """All of the wave comes, exactly, and nothing is said."""
    again, said = read(data)
    assert said == []
    assert np.array_equal(again, np.tile(tone() if wave is None else wave, times))


WAV, RF64, W64, AIFF, AU, CAF = map(coded, ("wav", "rf64", "w64", "aiff", "au", "caf"))
u4, i8, b4, b8 = (lambda n, form=form: struct.pack(form, n) for form in ("<I", "<q", ">I", ">q"))
UNFINISHED = {
    "wav 0": patched(WAV, (b"data", 4, u4(0))),
    "wav 0, riff 0": patched(WAV, (b"data", 4, u4(0)), (4, 0, u4(0))),
    "wav ffffffff": patched(WAV, (b"data", 4, u4(UNKNOWN)), (4, 0, u4(UNKNOWN))),
    "wav ffffffff less a header": patched(WAV, (b"data", 4, u4(UNKNOWN - 36))),
    "wav 7fffffff": patched(WAV, (b"data", 4, u4(0x7FFFFFFF))),
    "wav 80000000": patched(WAV, (b"data", 4, u4(0x80000000))),
    "wav 7ffff000": patched(WAV, (b"data", 4, u4(0x7FFFF000))),
    "rf64 -1": patched(RF64, (b"ds64", 8, i8(-1) * 3)),
    "rf64 0": patched(RF64, (b"ds64", 8, bytes(24))),
    "rf64 data 0": patched(RF64, (b"data", 4, u4(0))),
    "bw64": patched(RF64, (0, 0, b"BW64")),
    "w64 -1": patched(W64, (b"data", 16, i8(-1)), (16, 0, i8(-1))),
    "w64 0": patched(W64, (b"data", 16, i8(0))),
    "w64 a header's": patched(W64, (b"data", 16, i8(24))),
    "aiff 0": patched(AIFF, (b"SSND", 4, b4(0)), (b"COMM", 10, b4(0)), (4, 0, b4(0))),
    "aiff ffffffff": patched(AIFF, (b"SSND", 4, b4(UNKNOWN)), (b"COMM", 10, b4(UNKNOWN))),
    "au ffffffff": patched(AU, (8, 0, b4(UNKNOWN))),
    "au 0": patched(AU, (8, 0, b4(0))),
    "caf -1": patched(CAF, (b"data", 4, b8(-1))),
    "caf 0": patched(CAF, (b"data", 4, b8(0))),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_size_that_was_never_filled_in(name):
    check_whole(UNFINISHED[name])


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_32"])
def test_an_unfinished_wav_of_other_samples(subtype):
    check_whole(patched(coded("wav", subtype=subtype), (b"data", 4, u4(0))))


def test_an_empty_file_is_empty():
    """No sound is made of the chunks behind a size of 0."""
    none = coded("wav", np.zeros(0, np.float32))
    for behind in (b"", b"LIST" + u4(12) + b"INFOISFT" + u4(0), bytes(1000)):
        wave, said = read(none + behind)
        assert (wave.shape, said) == ((0,), [])


CHUNK = b"LIST" + u4(12) + b"INFOISFT" + u4(0)
HARMLESS = {
    "a chunk": CHUNK,
    "an unknown chunk": b"abcd" + u4(6) + b"\xff" * 6,
    "two chunks": CHUNK + b"id3 " + u4(4) + b"\1\2\3\4",
    "a chunk cut short": CHUNK[:-3],
    "a tag": b"TAG" + b"x" * 125,
    "another tag": b"ID3\x04\0\0\0\0\0\x05hello",
    "zeros": bytes(5000),
    "a byte that fills up": b"\0",
    "a stray byte": b"\n",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_may_stand_behind_the_sound_of_a_wav(name):
    check_whole(WAV + HARMLESS[name])
    odd = tone(COUNT + 1)
    bytewise = coded("wav", odd, subtype="PCM_24")  # an odd number of bytes, and one that fills up
    check_whole(bytewise + HARMLESS[name], odd)
    if name.endswith("chunk"):  # some do not fill up
        check_whole(bytewise[:-1] + HARMLESS[name], odd)


@pytest.mark.parametrize("declared", [1000, 32001, 0x10000])
def test_sound_behind_the_declared_end_is_said(declared):
    size = min(declared, 40000)
    wave, said = read(patched(WAV, (b"data", 4, u4(size))))
    assert np.array_equal(wave, tone()[: size // 2])
    assert len(said) == 1
    assert f"holds {2 * COUNT - size} bytes behind the end of its sound" in said[0]


def test_a_second_chunk_of_sound_is_said():
    wave, (said,) = read(WAV + CHUNK + WAV[36:])
    assert np.array_equal(wave, tone())
    assert f"holds {2 * COUNT + 8} bytes behind" in said


def test_a_size_of_32_bits_that_ran_over(tmp_path):
    """More than 4 GB of sound, here as a file with a hole; its size is what is left of it in 32 bits."""
    held = (1 << 32) + 2000
    for behind in (b"", CHUNK):
        with open(tmp_path / "x.wav", "wb") as file:
            file.write(patched(WAV[:44], (40, 0, u4(2000))))
            file.write(tone().tobytes())
            file.seek(44 + held)
            file.write(behind)
            file.truncate()
        with open(tmp_path / "x.wav", "rb") as file:
            (part,) = survey(Contents(file, own=True)).parts
        assert part.samples == held // 2


@pytest.mark.parametrize("form", PLAIN)
@pytest.mark.parametrize("share", [0.3, 0.77, 0.999])
def test_a_cut_file_is_said(form, share):
    data = coded(form)
    wave, said = read(data[: int(len(data) * share)])
    assert np.array_equal(wave, tone()[: len(wave)])
    assert len(wave) >= share * COUNT - 2100  # a header is in the way
    assert len(said) == 1
    assert "declares" in said[0]
    assert "missing" in said[0]


@pytest.mark.parametrize("form", [*PLAIN, "flac"])
@pytest.mark.parametrize("times", [2, 3])
def test_joined_files_are_read_one_after_another(form, times):
    check_whole(coded(form) * times, times=times)


def test_files_of_several_formats_joined():
    check_whole(coded("wav") + coded("aiff") + coded("flac"), times=3)


@pytest.mark.parametrize("form", ["ogg", "opus", "mp3"])
def test_joined_compressed_files(form):
    data = coded(form)
    alone, _ = read(data)
    with AudioReader(data * 3) as reader:
        assert (reader.sample_count, reader.sure) == (3 * len(alone), True)
    again, said = read(data * 3)
    assert said == []
    assert np.array_equal(again, np.tile(alone, 3))


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "opus", "mp3"])
def test_files_that_are_not_alike_are_not_joined(form):
    for other in (coded(form, rate=8000), coded(form, np.stack([tone()] * 2, 1))):
        with pytest.raises(AudioError, match="is made of several files, one of 16000 Hz and 1 channel"):
            read(coded(form) + other)


def test_blocks_do_not_tell_where_files_were_joined():
    with AudioReader(WAV * 3) as reader:
        assert [block.shape for block in reader.blocks(10000)] == [(10000,)] * 7 + [(2000,)]
        assert list(reader.blocks()) == []


def frames_of(data):
    """Where the MPEG frames of a file begin, by their own headers."""
    places, place = [], 0 if data[:1] == b"\xff" else len(data)
    while place < len(data) and data[place] == 0xFF:
        places.append(place)
        place += mpeg.FRAMES[data[place + 1] << 8 | data[place + 2]][0]
    return places


def bare_mp3(wave=None):
    """An mp3 without the frame that says how many follow it, and how many samples its frames hold."""
    data = coded("mp3", wave)
    places = frames_of(data)
    assert b"Xing" in data[: places[1]] or b"Info" in data[: places[1]]
    return data[places[1] :], 576 * (len(places) - 1)


def telling(data, frames):
    """An mp3 whose first frame tells of another number of frames."""
    mark = b"Xing" if b"Xing" in data[:200] else b"Info"
    return patched(data, (mark, 8, b4(frames)))


def test_an_mp3_that_tells_nothing():
    data, count = bare_mp3()
    for times in (1, 2):
        again, said = read(data * times)
        assert said == []
        assert times * count - 529 <= len(again) <= times * count  # less the silence with which a decoder begins


def test_an_mp3_of_varying_bitrate_that_tells_nothing():
    """libsndfile guesses the length from its first frames; where these are large it would read a part of it."""
    wave = np.concatenate([np.random.default_rng(0).normal(0, 0.3, 2 * RATE), np.zeros(10 * RATE)]).astype(np.float32)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", RATE, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE", compression_level=0.3
    ) as sound:
        sound.write(wave)
    places = frames_of(file.getvalue())
    data = file.getvalue()[places[1] :]
    assert soundfile.info(io.BytesIO(data)).frames < 0.9 * len(wave), "else this tests nothing"
    again, said = read(data)
    assert said == []
    assert len(wave) <= len(again) <= 576 * len(places)


@pytest.mark.parametrize("frames", [0, 5, 20])
def test_an_mp3_that_tells_too_little(frames):
    data = coded("mp3")
    again, said = read(telling(data, frames))
    assert said == []
    assert COUNT <= len(again) < COUNT + 4000


@pytest.mark.parametrize("frames", [100, 1 << 20, UNKNOWN])
def test_an_mp3_that_tells_too_much(frames):
    again, (said,) = read(telling(coded("mp3"), frames))
    assert f"declares {frames} frames" in said
    assert abs(len(again) - COUNT) < 2000


APE = b"APETAGEX" + u4(2000) + u4(35) + u4(0) + u4(0xA0000000) + bytes(8) + b"abc" + b"APETAGEX" + bytes(24)


@pytest.mark.parametrize("tag", [b"TAG" + b"x" * 125, b"ID3\x04\0\0\0\0\0\x05hello", APE], ids=["ID3v1", "ID3v2", "APE"])
def test_tags_in_the_middle_of_an_mp3(tag):
    for data in (coded("mp3"), bare_mp3()[0]):
        count = len(read(data)[0])
        for joined in (data + tag + data, data + tag + data + tag):
            again, said = read(joined)
            assert (len(again), said) == (2 * count, [])


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("harm", ["cut", "noise", "zeros", "taken out"])
def test_a_damaged_mp3_is_said(bare, harm):
    data = bare_mp3()[0] if bare else coded("mp3")
    middle = len(data) // 2 + 5  # in a frame
    hole = {"noise": np.random.default_rng(0).bytes(2000), "zeros": bytes(2000), "taken out": b"", "cut": b""}[harm]
    broken = data[:middle] + hole + (b"" if harm == "cut" else data[middle + 2000 :])
    again, said = read(broken)
    assert 0.3 * COUNT < len(again) < 1.1 * COUNT
    assert len(said) == 1
    assert any(word in said[0] for word in ("declares", "damaged", "ends in the middle"))


def with_total(data, total):
    return patched(data, (18, 0, ((int.from_bytes(data[18:26], "big") >> 36 << 36) | total).to_bytes(8, "big")))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_of_another_length_than_it_says(channels):
    wave = np.stack([tone(seed=seed) for seed in range(channels)])
    data = coded("flac", wave.T)
    wave = wave[0] if channels == 1 else wave
    for total in (0, 1, 4096, COUNT - 1):
        again, said = read(with_total(data, total))
        assert np.array_equal(again, wave)
        assert said == []
        with AudioReader(with_total(data, total)) as reader:
            assert not reader.sure
    for total in (COUNT + 1, 1 << 30, (1 << 36) - 1):
        again, (said,) = read(with_total(data, total))
        assert np.array_equal(again, wave)
        assert f"declares {total} samples, but holds {COUNT}" in said


def test_a_flac_with_a_tag_of_others():
    data, tag = coded("flac"), b"TAG" + bytes(125)
    for odd in (data + tag, b"ID3\x04\0\0\0\0\0\x05hello" + data, with_total(data, 0) + tag, data + tag + data):
        assert len(read(odd)[0]) == COUNT * odd.count(b"fLaC")


@pytest.mark.parametrize("total", [COUNT, 0])
@pytest.mark.parametrize("harm", ["flip", "zeros", "taken out", "cut"])
def test_a_damaged_flac_is_refused(total, harm):
    data = with_total(coded("flac"), total)
    middle = len(data) // 2
    rest = {"flip": bytes([data[middle] ^ 16]) + data[middle + 1 :], "zeros": bytes(900) + data[middle + 900 :],
            "taken out": data[middle + 900 :], "cut": b""}[harm]  # fmt: skip
    with pytest.raises(AudioError, match="is damaged after"):
        read(data[:middle] + rest)


def test_the_last_frame_of_a_flac():
    """The end that is read from it is that of the file, for all that the header of a frame may look like."""
    for rate in (8000, 16000, 22050, 44100, 48000, 11025, 96000, 12345):
        for count in (1, 17, 4096, 4097, 100_000, 4096 * 300 + 5):
            data = coded("flac", tone(count) / 4, rate)
            found = flac.survey(Contents(io.BytesIO(data), own=True), 0)
            assert (found.parts[0].samples, found.parts[0].patches) == (count, ()), (rate, count)


def pages_of(data):
    """(start, end) of the pages of an Ogg file."""
    pages, place = [], 0
    while place < len(data):
        lacing = data[place + 27 : place + 27 + data[place + 26]]
        pages.append((place, place + 27 + len(lacing) + sum(lacing)))
        place = pages[-1][1]
    return pages


def slow_checksum(page):
    """As RFC 3533 has it, bit by bit."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_the_checksum_of_an_ogg_page():
    data = coded("opus")
    for start, end in pages_of(data)[:3]:
        assert slow_checksum(data[start:end]) == int.from_bytes(data[start + 22 : start + 26], "little")
        assert ogg._is_whole(data[start:end])
        assert not ogg._is_whole(data[start : end - 1] + bytes([data[end - 1] ^ 1]))


@pytest.mark.parametrize("form", ["ogg", "opus"])
def test_a_damaged_ogg_is_refused(form):
    """Any bit, any page but the first and the last of sound."""
    data = coded(form, tone(5 * RATE))
    pages = pages_of(data)
    generator = np.random.default_rng(0)
    for place in [*generator.integers(0, len(data), 40), len(data) - 1]:
        with pytest.raises(AudioError, match=r"is damaged|is not audio"):
            read(patched(data, (int(place), 0, bytes([data[place] ^ 1 << int(generator.integers(8))]))))
    for start, end in pages[-3:-1]:
        for hole in (b"", bytes(end - start)):
            with pytest.raises(AudioError, match="is damaged"):
                read(data[:start] + hole + data[end:])
    with pytest.raises(AudioError, match="is damaged"):
        read(data + patched(data, (len(data) * 2 // 3, 0, b"\0\1\2")))


@pytest.mark.parametrize("form", ["ogg", "opus"])
def test_a_cut_ogg_is_said(form):
    data = coded(form, tone(5 * RATE))
    whole = len(read(data)[0])
    last = pages_of(data)[-1][0]
    for end in (last, last + 4, last + 26, last + 27, last + 30, len(data) - 10, len(data) * 2 // 3):
        again, (said,) = read(data[:end])
        assert 0 < len(again) < whole
        assert "missing" in said


def test_an_ogg_that_begins_in_the_middle_of_a_broadcast():
    """Behind its headers the pages may have any numbers; that is said."""
    data = bytearray(coded("opus", tone(5 * RATE)))
    for number, (start, end) in enumerate(pages_of(data)[2:]):
        data[start + 18 : start + 22] = u4(1000 + number)
        data[start + 22 : start + 26] = u4(slow_checksum(data[start:end]))
    wave, (said,) = read(bytes(data))
    assert len(wave) == 5 * RATE
    assert "begins with page 1000 of its stream" in said


def test_files_that_are_read_without_a_word():
    """Every format that libsndfile writes, of odd lengths, alone."""
    for form in [*PLAIN, "flac", "ogg", "opus", "mp3"]:
        for count in (1, 2, 959, 16001):
            for channels in (1, 2):
                data = coded(form, np.stack([tone(count)] * channels, 1))
                wave, said = read(data)
                assert said == [], (form, count)
                assert wave.shape == ((count,) if channels == 1 else (2, count)) or form == "mp3"


def test_any_damage_is_an_error_or_read():
    """Of single bytes, holes and cuts: never another exception, and of cuts never a silent loss but where nothing tells."""
    generator = np.random.default_rng(1)
    files = [coded(form, tone(6000)) for form in [*PLAIN, "flac", "ogg", "opus", "mp3"]]
    for _ in range(120):
        data = files[generator.integers(len(files))]
        first, last = sorted(generator.integers(0, len(data) + 1, 2))
        harm = generator.integers(4)
        broken = [
            data[:last],
            data[:first] + data[last:],
            data[:first] + generator.bytes(int(last - first)) + data[last:],
            patched(data, (int(first) % len(data), 0, generator.bytes(1))),
        ][harm]
        try:
            wave, said = read(broken)
        except AudioError:
            continue
        assert harm or said or wave.shape[-1] >= 6000 or last == len(data), (data[:4], last)


def test_a_window_is_a_file():
    data = bytes(range(200))
    window = Window(Contents(io.BytesIO(data), own=True), 50, 150, b"head", ((60, b"abc"), (148, b"xyz")))
    expected = b"head" + data[50:60] + b"abc" + data[63:148] + b"xy"
    assert window.read() == expected
    for start in range(0, 110, 7):
        for count in (0, 1, 5, 50, 200):
            window.seek(start)
            found = window.read(count)
            assert found == expected[start : start + len(found)]
            assert found or not count or start >= len(expected)
    assert window.seek(0, 2) == len(expected)
    assert zlib.crc32(io.BufferedReader(Window(Contents(io.BytesIO(data), own=False), 0, 200)).read()) == zlib.crc32(data)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("form", ["wav", "wav -rf64 always", "aiff", "au", "caf", "flac", "w64"])
def test_what_ffmpeg_writes_into_a_pipe(tmp_path, form):
    (tmp_path / "x.wav").write_bytes(WAV)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.wav"), "-f", *form.split(), "-"]
    check_whole(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("options", ["-b:a 32k", "-q:a 5", "-b:a 32k -write_xing 0", "-b:a 32k -write_id3v1 1 -metadata title=x"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_mp3s_of_ffmpeg(tmp_path, options, rate):
    (tmp_path / "x.wav").write_bytes(WAV)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(tmp_path / "x.wav"),
        "-ar",
        str(rate),
        *options.split(),
        str(tmp_path / "x.mp3"),
    ]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    data = (tmp_path / "x.mp3").read_bytes()
    count = len(read(data)[0])
    assert count * RATE / rate == pytest.approx(COUNT, abs=2400 if "write_xing" in options else 1)
    for times in (1, 2, 3):
        again, said = read(data * times)
        assert (len(again), said) == (times * count, [])
    with pytest.warns(AudioWarning):
        read_audio(data[: len(data) * 2 // 3 + 5])
