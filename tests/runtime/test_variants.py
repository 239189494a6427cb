"""Variants of a model's graphs as the runtime finds them: in the model folder, or in one beside it."""

import shutil

import numpy as np
import pytest

from mixcodec.errors import ModelError
from mixcodec.models import split_variant, variant_folders
from mixcodec.runtime import decode_file, encode_file, load


def add_variant(folder, variant, home=None):
    """The plain graphs under a variant's name."""
    for way in ("encoder", "decoder"):
        shutil.copy(folder / f"{way}.onnx", (home or folder) / f"{way}.{variant}.onnx")


@pytest.fixture
def folder(make_model, tmp_path):
    return make_model(tmp_path / "tiny")


@pytest.fixture
def beside(folder):
    home = folder.with_name("tiny-int8")
    home.mkdir()
    shutil.copy(folder / "config.json", home)
    add_variant(folder, "int8", home)
    return home


def test_in_the_folder(folder, grid_wave):
    add_variant(folder, "int8")
    assert list(variant_folders(folder)) == ["float32", "int8"]
    plain, codec = load(folder), load(folder, variant="int8")
    assert (plain.variant, codec.variant) == ("float32", "int8")
    assert codec.wave_to_tokens(grid_wave(5000), 16000) == plain.wave_to_tokens(grid_wave(5000), 16000)
    (folder / "encoder.int8.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"encoder\.int8\.onnx: cannot be loaded"):
        load(folder, variant="int8").wave_to_tokens(grid_wave(10), 16000)


def test_beside_the_folder(folder, beside, grid_wave, monkeypatch):
    assert load(folder, variant="int8").config.folder == beside
    assert load(beside).variant == load(beside, variant="int8").variant == "int8"
    assert load(folder).variant == "float32"
    monkeypatch.chdir(folder)
    assert load(".", variant="int8").config.folder == beside
    with pytest.raises(ModelError, match="not float32"):
        load(beside, variant="float32")


def test_graphs_of_other_weights_are_refused(folder, beside, make_model):
    make_model(folder, fingerprint="f" * 32)
    with pytest.raises(ModelError, match=f"other weights.*{'f' * 32}.*mixcodec variant"):
        load(folder, variant="int8")


def test_what_is_not_there_is_said_with_how_to_make_it(folder):
    with pytest.raises(ModelError, match=r"has float32 graphs, not int8; make them with mixcodec variant .*tiny int8"):
        load(folder, variant="int8")
    with pytest.raises(ModelError, match="unknown variant 'int4'; there are float32, int8, bf16"):
        load(folder, variant="int4")
    add_variant(folder, "bf16")
    (folder / "decoder.bf16.onnx").unlink()
    with pytest.raises(ModelError, match="has float32 graphs, not bf16"):
        load(folder, variant="bf16")


def test_files_of_one_decode_with_another(folder, beside, tmp_path):
    from mixcodec.audio import write_audio

    write_audio(tmp_path / "talk.wav", np.sin(np.arange(9000) / 30).astype(np.float32), 16000)
    encode_file(load(folder, variant="int8"), tmp_path / "talk.wav", tmp_path / "talk.mxc")
    for variant in ("float32", "int8"):
        decode_file(str(folder), tmp_path / "talk.mxc", tmp_path / f"{variant}.wav", variant=variant)
    assert (tmp_path / "float32.wav").read_bytes() == (tmp_path / "int8.wav").read_bytes()


def test_names_of_operating_points():
    assert split_variant("speech-16k") == ("speech-16k", None)
    assert split_variant("speech-16k:int8") == ("speech-16k", "int8")
    assert split_variant("speech-16k:float32:int8") == ("speech-16k:float32", "int8")
    assert split_variant("a:b") == ("a:b", None)
    assert split_variant(":int8") == (":int8", None)


def test_a_variant_does_not_replace_what_it_is_made_of(tmp_path, make_model):
    pytest.importorskip("onnx")
    from mixcodec.errors import FileError
    from mixcodec.train.variant import make_variant

    folder = make_model(tmp_path / "tiny")
    (folder / "encoder.bf16.onnx").symlink_to("encoder.onnx")
    before = (folder / "encoder.onnx").read_bytes()
    with pytest.raises(FileError, match="is the input itself"):
        make_variant(folder, "bf16")
    assert (folder / "encoder.onnx").read_bytes() == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config.json").write_text("{}")
    (tmp_path / "out/recordings").mkdir()
    with pytest.raises(FileError, match="recordings is in it"):
        make_variant(folder, "int8", tmp_path / "out", tmp_path / "out/recordings")
    inner = make_model(tmp_path / "out/tiny")
    with pytest.raises(FileError, match="tiny is in it"):
        make_variant(inner, "bf16", tmp_path / "out")
    assert (inner / "encoder.onnx").exists()
