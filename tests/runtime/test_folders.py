"""Model folders in which something is wrong: one line, a ModelError, nothing else on standard error."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mixcodec.cli.main import main
from mixcodec.errors import ModelError
from mixcodec.models import HOME, find_model
from mixcodec.runtime import load

WAVE = np.random.default_rng(0).integers(-255, 256, 3000).astype(np.float32) / 256


def use(folder):
    """All that a codec does with its folder."""
    codec = load(folder)
    codec.tokens_to_wave(codec.wave_to_tokens(WAVE, 16000))
    return codec.tables


def refused(folder, capfd, told=None):
    with pytest.raises(ModelError, match=told) as failure:
        use(folder)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 500 + len(str(folder))
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def folder(make_model, tmp_path):
    return make_model(tmp_path / "m")


@pytest.fixture
def text(folder):
    return (folder / "config.json").read_text()


def test_a_byte_order_mark_is_understood(folder, text):
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (folder / "config.json").write_text(text, encoding=encoding)
        assert use(folder) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: "[" * 200_000, "is not JSON"),
        (lambda text: '{"a":' * 100_000, "is not JSON"),
        (lambda text: text[:-1] + ', "x": ' + "[" * 50_000 + "]" * 50_000 + "}", "is not JSON"),
        (lambda text: text[:-1] + ', "x": "' + "y" * (1 << 20) + '"}', "is longer than 1048576 bytes"),
        (lambda text: text.replace('"hop": 320', '"hop": ' + "9" * 5000), "is not JSON"),
        (lambda text: text.replace('"hop": 320', '"hop": NaN'), "holds NaN, which is no number"),
        (lambda text: text[:-1] + ', "x": [-Infinity]}', "holds -Infinity"),
        (lambda text: text.replace('"hop": 320', '"hop": 1e999'), "impossible 'hop'"),
        (lambda text: text[:-1] + ', "hop": 320}', "has 'hop' twice"),
        (lambda text: text.replace('"shape": [320]', '"shape": [320], "shape": [320]', 1), "has 'shape' twice"),
        (lambda text: text + "x", "is not JSON"),
        (lambda text: "", "is not JSON"),
        (lambda text: "\0" * 100, "is not JSON"),
        (lambda text: "null", "is not a JSON object"),
        (lambda text: '"config"', "is not a JSON object"),
    ],
)
def test_text_that_is_no_config(folder, text, capfd, change, told):
    (folder / "config.json").write_text(change(text))
    refused(folder, capfd, told)


def test_bytes_that_are_no_text(folder, text, capfd):
    (folder / "config.json").write_bytes(text.encode().replace(b"tiny", b"\xff\xfe", 1))
    refused(folder, capfd, "is not JSON")


@pytest.mark.parametrize(
    "entry", ["format", "name", "sample_rate", "hop", "delay", "codebooks", "codebook_size", "default_codebooks"]
)
def test_entries_that_are_missing_or_of_another_type(make_model, tmp_path, capfd, entry):
    kept = json.loads((make_model(tmp_path / "m") / "config.json").read_text())
    for value in (None, True, [], {}, 1.5, -1, 1 << 60, "x" * 1000, "a\nb", [["deep"] * 100] * 100):
        refused(make_model(tmp_path / "m", **{entry: value}), capfd, f"impossible '{entry}'|newer model format")
    if entry != "name":
        refused(make_model(tmp_path / "m", **{entry: str(kept[entry])}), capfd, f"impossible '{entry}'")
    del kept[entry]
    (tmp_path / "m" / "config.json").write_text(json.dumps(kept))
    refused(tmp_path / "m", capfd, f"lacks '{entry}'")


STATE = {"tail": {"shape": [320]}, "position": {"shape": [1], "dtype": "int64"}}


@pytest.mark.parametrize(
    "state",
    [
        None,
        1,
        "x",
        [],
        {"tail": 1},
        {"tail": {}},
        {"tail": {"shape": "320"}},
        {"tail": {"shape": ["320"]}},
        {"tail": {"shape": [320.0]}},
        {"tail": {"shape": [True]}},
        {"tail": {"shape": [-1]}},
        {"tail": {"shape": [1 << 40]}},
        {"tail": {"shape": [4096] * 3}},
        {"tail": {"shape": [320], "dtype": ["x"]}},
        {"tail": {"shape": [320], "dtype": "float16"}},
    ],
)
def test_states_that_cannot_be(make_model, tmp_path, capfd, state):
    for direction in ("encoder_state", "decoder_state"):
        refused(make_model(tmp_path / "m", **{direction: state}), capfd, f"impossible '{direction}'")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder_state": {"tail": {"shape": [320]}}}, "inputs and outputs do not match"),
        ({"encoder_state": STATE | {"more": {"shape": [1]}}}, "inputs and outputs do not match"),
        (
            {"encoder_state": STATE | {"tail": {"shape": [321]}}},
            r"encoder.onnx: its 'state.tail' is tensor\(float\) \('B', 320\)",
        ),
        ({"encoder_state": STATE | {"tail": {"shape": [320, 1]}}}, "its 'state.tail' is"),
        ({"encoder_state": STATE | {"position": {"shape": [1]}}}, r"its 'state.position' is tensor\(int64\)"),
        ({"decoder_state": {}}, "decoder.onnx: its inputs and outputs do not match"),
        ({"decoder_state": {"overlap": {"shape": [480]}}}, "its 'state.overlap' is"),
        ({"codebooks": 7}, "its 'codes' is"),
        ({"codebooks": 9}, "its 'codes' is"),
        ({"codebook_size": 512}, "encoder.onnx: its results do not match"),
        ({"hop": 640}, "its results do not match|cannot be run"),
        ({"hop": 100}, "its results do not match|cannot be run"),
    ],
)
def test_graphs_that_are_not_what_the_config_says(make_model, tmp_path, capfd, changes, told):
    refused(make_model(tmp_path / "m", **changes), capfd, told)


def test_a_decoder_of_a_smaller_codebook(make_model, tmp_path, capfd):
    """What only shows when it runs is said as well, and onnxruntime prints nothing."""
    from mixcodec.runtime.config import read_config
    from mixcodec.runtime.session import GraphSession

    config = read_config(make_model(tmp_path / "m", codebook_size=65536))
    session = GraphSession("decoder", config)
    with pytest.raises(ModelError, match=r"decoder.onnx: cannot be run \(.*\); export the model again"):
        session.step(np.full((1, 3, 8), 60000), session.initial_state(1))
    assert capfd.readouterr() == ("", "")


def spoil(path, how):
    data = path.read_bytes() if path.is_file() else b"x" * 1000
    path.unlink(missing_ok=True)
    if how == "a directory":
        path.mkdir()
    elif how == "a loop":
        path.symlink_to(path)
    elif how == "a pipe":
        os.mkfifo(path)
    elif how != "gone":
        other = {
            "empty": b"",
            "cut": data[:-50],
            "half": data[: len(data) // 2],
            "text": b"hello" * 99,
            "noise": os.urandom(5000),
        }
        path.write_bytes(other[how])


@pytest.mark.parametrize("direction", ["encoder", "decoder"])
@pytest.mark.parametrize("how", ["a directory", "a loop", "a pipe", "gone", "empty", "cut", "half", "text", "noise"])
def test_files_that_are_no_graphs(folder, capfd, direction, how):
    spoil(folder / f"{direction}.onnx", how)
    refused(folder, capfd, f"{direction}.onnx: ")


def test_the_graphs_change_places(folder, capfd):
    encoder = (folder / "encoder.onnx").read_bytes()
    (folder / "encoder.onnx").write_bytes((folder / "decoder.onnx").read_bytes())
    (folder / "decoder.onnx").write_bytes(encoder)
    refused(folder, capfd, "encoder.onnx: its inputs and outputs do not match")


def test_a_graph_that_names_another_model(folder, capfd):
    import onnx

    graph = onnx.load(folder / "encoder.onnx")
    for fingerprint in (load(folder).fingerprint, "f" * 32):
        onnx.helper.set_model_props(graph, {"fingerprint": fingerprint})
        onnx.save(graph, folder / "encoder.onnx")
        if fingerprint != "f" * 32:
            assert use(folder) is None
    refused(folder, capfd, f"encoder.onnx: is a graph of the model {'f' * 32}, not of tiny")


@pytest.mark.parametrize("how", ["a directory", "a loop", "empty", "cut", "text", "noise"])
def test_files_that_are_no_tables(folder, capfd, how):
    spoil(folder / "entropy.bin", how)
    refused(folder, capfd, "entropy.bin: ")


def test_tables_of_another_model(make_model, tmp_path, capfd):
    data = {name: (HOME / name / "entropy.bin").read_bytes() for name in ("speech-16k", "speech-16k-single", "speech-24k")}
    folder = make_model(tmp_path / "m")
    (folder / "entropy.bin").write_bytes(data["speech-16k-single"])
    refused(folder, capfd, r"entropy.bin: holds the tables of another model \(tiny has 8 codebooks of 1024 codes\)")
    (folder / "entropy.bin").write_bytes(data["speech-16k"])
    tables = use(folder)  # as many and as large, and the config does not say which
    make_model(folder, tables=f"{tables.fingerprint:08x}")
    assert use(folder).fingerprint == tables.fingerprint
    (folder / "entropy.bin").write_bytes(data["speech-24k"])
    refused(folder, capfd, f"holds the tables of another model .tiny has {tables.fingerprint:08x}, not ")
    for wrong in ("xyz", 5, None, "0" * 9):
        refused(make_model(folder, tables=wrong), capfd, "impossible 'tables'")


@pytest.mark.parametrize("other", ["speech-16k-single", "speech-24k", "audio-44k"])
@pytest.mark.parametrize("file", ["config.json", "encoder.onnx", "decoder.onnx", "entropy.bin"])
def test_a_file_of_another_shipped_model(tmp_path, capfd, file, other):
    for name in ("config.json", "encoder.onnx", "decoder.onnx", "entropy.bin"):
        (tmp_path / name).symlink_to(find_model(other if name == file else "speech-16k") / name)
    refused(tmp_path, capfd)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "", "/", "/dev/null", b"nope", Path("nope"), "nope/nope"])
def test_names_of_no_model(capfd, name):
    with pytest.raises(ModelError):
        load(name)


def test_the_command_says_it_in_one_line(folder, tmp_path, monkeypatch, capfd, make_model):
    from mixcodec.audio import write_audio

    monkeypatch.chdir(tmp_path)
    write_audio("x.wav", WAVE, 16000)
    for bad, told in (
        ({"hop": True}, "impossible 'hop'"),
        ({"codebook_size": 512}, "its results do not match"),
        ({"decoder_state": {}}, "do not match"),
    ):
        make_model(folder, **bad)
        for line in (["roundtrip", "x.wav", "--model", "m"], ["encode", "x.wav", "-o", "y.mxc", "--model", "m"]):
            if main(line) == 0:
                assert (line[0], bad) == ("encode", {"decoder_state": {}})
                os.remove("y.mxc")
                capfd.readouterr()
                continue
            said = capfd.readouterr()
            assert (said.out, said.err.count("\n")) == ("", 1)
            assert told in said.err
    assert sorted(os.listdir()) == ["m", "x.wav"]
