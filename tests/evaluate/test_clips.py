import numpy as np
import pytest

from mixcodec import read_audio, write_audio
from mixcodec.errors import DataError
from mixcodec.evaluate.clips import find_clips, read_clip


def test_a_folder_with_a_manifest(data):
    clips = find_clips(data)
    assert [clip.name for clip in clips] == [f"clip{i}.wav" for i in range(4)]
    assert [clip.language for clip in clips] == ["de", "de", "en", "en"]
    assert clips[2].speaker == "test/en_GB_anna"
    assert clips[0].seconds == 2
    assert find_clips(data, limit=2) == clips[:2]


def test_a_list_keeps_its_order_and_what_the_manifest_says(data, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("clip3.wav\n\nclip0.wav\n")
    clips = find_clips(data, listed)
    assert [(clip.name, clip.language) for clip in clips] == [("clip3.wav", "en"), ("clip0.wav", "de")]


def test_text_beside_a_clip(tmp_path, speech):
    write_audio(tmp_path / "a.wav", speech, 16000)
    (tmp_path / "a.txt").write_text("Bonjour.\n")
    assert find_clips(tmp_path)[0].text == "Bonjour."


def test_what_cannot_be_read_stays_in_the_list(tmp_path, speech):
    write_audio(tmp_path / "a.wav", speech, 16000)
    (tmp_path / "b.wav").write_bytes(b"not audio")
    assert [(clip.name, clip.seconds > 0) for clip in find_clips(tmp_path)] == [("a.wav", True), ("b.wav", False)]


def test_mistakes(data, tmp_path):
    for names in ("gone.wav\n", ""):
        (tmp_path / "list").write_text(names)
        with pytest.raises(DataError, match=r"gone\.wav|names no clip"):
            find_clips(data, tmp_path / "list")
    with pytest.raises(DataError, match="cannot be read"):
        find_clips(data, tmp_path / "none")


def test_every_codec_is_given_16_bits_at_the_rate_of_the_run(tmp_path):
    stereo = np.stack([np.full(4410, 0.1), np.full(4410, 0.3)]).astype(np.float32)
    write_audio(tmp_path / "s.wav", stereo, 44100)
    mono = read_clip(tmp_path / "s.wav", tmp_path / "m.wav", 16000, mono=True)
    assert mono.shape == (1600,)
    assert abs(mono[800] - 0.2) < 1e-3
    assert (mono == read_audio(tmp_path / "m.wav")[0]).all()
    assert read_clip(tmp_path / "s.wav", tmp_path / "m.wav", 44100, mono=False).shape == (2, 4410)
