"""The commands, in this process and as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import mixcodec
from mixcodec.audio import read_audio, write_audio
from mixcodec.bitstream import read_mxc
from mixcodec.cli.main import COMMANDS, main

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mixcodec.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def command(*arguments, cwd, data=b"", code="from mixcodec.cli.main import main; raise SystemExit(main())"):
    call = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(call, cwd=cwd, input=data, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)


@pytest.fixture
def talk(tmp_path, grid_wave, monkeypatch):
    """A folder with a stereo talk.wav in it, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_audio("talk.wav", grid_wave((2, 20000)), 22050)
    return tmp_path


def test_encode_and_decode(talk, tiny_model, tiny_codec, capsys):
    before = (talk / "talk.wav").read_bytes()
    assert main(["encode", "talk.wav", "--model", str(tiny_model), "--codebooks", "4"]) == 0
    assert capsys.readouterr().out.startswith("talk.mxc: 0.91 s, 4 codebooks, ")
    wave, rate = read_audio("talk.wav")
    tokens = tiny_codec.wave_to_tokens(wave, rate, codebooks=4)
    assert read_mxc("talk.mxc") == tokens
    assert main(["decode", "talk.mxc", "--model", str(tiny_model)]) == 0
    assert "talk.decoded.wav: 0.91 s, 2 channels, 22050 Hz" in capsys.readouterr().out
    assert (talk / "talk.wav").read_bytes() == before
    decoded, rate = read_audio("talk.decoded.wav")
    assert (decoded.shape, rate) == (wave.shape, 22050)
    assert np.abs(decoded - np.clip(tiny_codec.tokens_to_wave(tokens), -1, 1)).max() < 1e-4
    assert main(["decode", "talk.mxc", "-o", "other.wav", "--model", str(tiny_model)]) == 0
    assert (talk / "other.wav").read_bytes() == (talk / "talk.decoded.wav").read_bytes()
    assert sorted(entry.name for entry in talk.iterdir()) == ["other.wav", "talk.decoded.wav", "talk.mxc", "talk.wav"]


def test_the_former_name_of_codebooks_is_understood(talk, tiny_model, capsys):
    written = []
    for words in (["--codebooks", "4"], ["--quality", "4"], ["--quality=4"], ["--codebooks=4"]):
        assert main(["encode", "talk.wav", "--model", str(tiny_model), *words]) == 0
        written.append((talk / "talk.mxc").read_bytes())
    assert len(set(written)) == 1
    assert main(["roundtrip", "talk.wav", "--model", str(tiny_model), "--quality", "4"]) == 0
    assert "codebooks           4 of 8" in capsys.readouterr().out


def test_a_bitrate_is_kept(talk, tiny_model, tiny_codec, grid_wave, capsys):
    write_audio("long.wav", grid_wave((2, 8 * 22050)), 22050)
    assert main(["encode", "long.wav", "--model", str(tiny_model), "--kbps", "4"]) == 0
    said = capsys.readouterr().out
    assert float(said.split()[-2]) == pytest.approx(4, rel=0.05)
    assert float(said.split()[-2]) == pytest.approx((talk / "long.mxc").stat().st_size / 1000, abs=1e-3)


def test_a_damaged_file(talk, tiny_model, grid_wave, capsys):
    write_audio("long.wav", grid_wave(4 * 16000), 16000)
    main(["encode", "long.wav", "--model", str(tiny_model), "--packet-seconds", "1"])
    data = bytearray((talk / "long.mxc").read_bytes())
    data[len(data) * 3 // 8] ^= 1  # in the second of four packets
    (talk / "bad.mxc").write_bytes(data)
    assert main(["decode", "bad.mxc", "--model", str(tiny_model)]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main(["decode", "bad.mxc", "--model", str(tiny_model), "--lossy"]) == 0
    assert capsys.readouterr().out.splitlines() == ["bad.wav: 4.00 s, 1 channel, 16000 Hz", "lost: 1.00 s (1.00 to 2.00 s)"]
    assert soundfile.info("bad.wav").frames == 4 * 16000
    assert main(["decode", "long.mxc", "-o", "x.wav", "--model", str(tiny_model), "--lossy"]) == 0
    assert capsys.readouterr().out.endswith("lost: nothing\n")
    done = command("decode", "bad.mxc", "-o", "-", "--lossy", "--model", tiny_model, cwd=talk)
    assert (done.returncode, done.stderr) == (0, b"lost: 1.00 s (1.00 to 2.00 s)\n")
    assert done.stdout == (talk / "bad.wav").read_bytes()


def test_info_with_everything(talk, tiny_model, capsys):
    main(
        ["encode", "talk.wav", "--model", str(tiny_model), "--packet-seconds", "0.1", "--metadata", "title=A B", "bell=\a\x1b[2J"]
    )
    capsys.readouterr()
    assert main(["info", "talk.mxc", "--plot"]) == 0
    text = capsys.readouterr().out
    rows = dict(line.split("  ", 1) for line in text.splitlines() if "  " in line)
    assert rows["metadata title"].strip() == "A B"
    assert rows["metadata bell"].strip() == r"'\x07\x1b[2J'", "nothing that a terminal obeys"
    assert rows["packets"].strip() == "10 of 5 frames; 0 seek entries"
    assert "bits a code of 10" in rows["entropy coding"]
    assert rows["length in header"].strip() == "yes"
    bars = text.splitlines()[-1]
    assert len(bars) == 10
    assert set(bars) <= set("▁▂▃▄▅▆▇█")
    assert "█" in bars


def test_the_wav_takes_the_plain_name_where_it_is_free(talk, tiny_model):
    assert main(["encode", "talk.wav", "-o", "new.mxc", "--model", str(tiny_model)]) == 0
    assert main(["decode", "new.mxc", "--model", str(tiny_model)]) == 0
    assert (talk / "new.wav").exists()


def test_roundtrip(talk, tiny_model, capsys):
    assert main(["roundtrip", "talk.wav", "--model", str(tiny_model)]) == 0
    table = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    size = (talk / "talk.roundtrip.mxc").stat().st_size
    assert table["size as .mxc"].strip() == f"{size} bytes"
    assert float(table["real bitrate"].split()[0]) == pytest.approx(size * 8 / (20000 / 22050) / 1000, abs=1e-3)
    assert float(table["mel distance"]) > 0
    assert table["sound"].strip() == "talk.roundtrip.wav"
    assert soundfile.info("talk.roundtrip.wav").frames == 20000


def test_info_and_models(talk, tiny_model, capsys, monkeypatch):
    main(["encode", "talk.wav", "--model", str(tiny_model)])
    capsys.readouterr()
    assert main(["info", "talk.mxc"]) == 0
    text = capsys.readouterr().out
    for fact in (
        "tiny",
        "00112233445566778899aabbccddeeff",
        "22050 Hz, 2 channels",
        "20000 samples",
        "6 of 1024",
        "50 Hz",
    ):
        assert fact in text
    assert main(["info", str(tiny_model)]) == 0
    assert "0.5 to 4 kbps per channel" in capsys.readouterr().out
    monkeypatch.setattr("mixcodec.models.shipped_models", lambda: [str(tiny_model)])
    assert main(["models"]) == 0
    assert "tiny" in capsys.readouterr().out


def test_a_variant_that_a_model_lacks(talk, tiny_model, capsys):
    for line in (["encode", "talk.wav"], ["roundtrip", "talk.wav"], ["decode", "talk.mxc"]):
        if line[0] == "decode":
            assert main(["encode", "talk.wav", "--model", str(tiny_model)]) == 0
        capsys.readouterr()
        assert main([*line, "--model", str(tiny_model), "--variant", "int8"]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert "has float32 graphs, not int8; make them with mixcodec variant" in said[0]


def test_standard_input_and_output(talk, tiny_model):
    wav = (talk / "talk.wav").read_bytes()
    encoded = command("encode", "-", "-o", "-", "--model", tiny_model, cwd=talk, data=wav)
    assert (encoded.returncode, encoded.stderr) == (0, b"")
    main(["encode", "talk.wav", "--model", str(tiny_model)])
    assert encoded.stdout == (talk / "talk.mxc").read_bytes()
    decoded = command("decode", "-", "--model", tiny_model, cwd=talk, data=encoded.stdout)
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    main(["decode", "talk.mxc", "-o", "x.wav", "--model", str(tiny_model)])
    assert decoded.stdout == (talk / "x.wav").read_bytes()
    seen = command("info", "-", cwd=talk, data=encoded.stdout)
    assert b"standard input" in seen.stdout


@pytest.mark.parametrize("count", [0, 1, 320])
def test_short_and_empty_audio(talk, tiny_model, count, capsys):
    write_audio("short.wav", np.zeros(count, np.float32), 8000)
    assert main(["roundtrip", "short.wav", "--model", str(tiny_model)]) == 0
    wave, rate = read_audio("short.roundtrip.wav")
    assert (wave.shape, rate) == ((count,), 8000)
    assert main(["info", "short.roundtrip.mxc"]) == 0


def test_a_device_can_be_the_target(talk, tiny_model):
    assert main(["encode", "talk.wav", "-o", "/dev/null", "--model", str(tiny_model)]) == 0
    assert not os.path.isfile("/dev/null")


def test_a_link_stays_a_link(talk, tiny_model):
    os.symlink("real.mxc", "link.mxc")
    (talk / "real.mxc").write_bytes(b"old")
    assert main(["encode", "talk.wav", "-o", "link.mxc", "--model", str(tiny_model)]) == 0
    assert os.path.islink("link.mxc")
    assert read_mxc("real.mxc").sample_count == 20000


def test_help(capsys):
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in COMMANDS)
    assert main(["--version"]) == 0
    assert mixcodec.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", ["encode", "decode", "roundtrip", "info", "models", "train", "export"])
def test_help_of_each_command(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"usage: mixcodec {name}" in capsys.readouterr().out


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "lightning_fabric", "lightning", "tensorboard", "safetensors", "onnx", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from mixcodec.cli.main import main
raise SystemExit(main())
"""


def test_no_torch_is_needed(talk, tiny_model):
    calls = [
        ("encode", "talk.wav", "--model", tiny_model),
        ("decode", "talk.mxc", "--model", tiny_model),
        ("info", "talk.mxc"),
        ("info", tiny_model),
        ("roundtrip", "talk.wav", "--model", tiny_model),
        ("models",),
    ]
    for arguments in calls:
        done = command(*arguments, cwd=talk, code=BLOCK_TORCH)
        assert (done.returncode, done.stderr) == (0, b""), arguments


@pytest.mark.parametrize("arguments", [("train", "recipe.yaml"), ("export", "x.safetensors", "out")])
def test_the_workshop_says_what_it_needs(talk, arguments):
    done = command(*arguments, cwd=talk, code=BLOCK_TORCH)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mixcodec: mixcodec {arguments[0]} needs pip install 'mixcodec[train]'".encode())
    assert done.stderr.count(b"\n") == 1


def test_only_what_is_needed_is_imported(talk, tiny_model):
    """The cold start: no progress bar, no resampler, no model for `info`, no numpy for the help."""
    spy = "import sys; from mixcodec.cli.main import main; main(); print(*sorted(sys.modules), file=sys.stderr)"
    write_audio("mono.wav", np.zeros(16000, np.float32), 16000)
    done = command("encode", "mono.wav", "--model", tiny_model, cwd=talk, code=spy)
    assert not {"rich", "soxr", "torch", "scipy", "typeguard"} & set(done.stderr.decode().split())
    done = command("info", "mono.mxc", cwd=talk, code=spy)
    assert not {"onnxruntime", "soundfile", "soxr", "rich"} & set(done.stderr.decode().split())
    done = command("--help", cwd=talk, code=spy)
    assert not {"numpy", "tyro"} & set(done.stderr.decode().split())


def test_a_closed_pipe_is_no_crash(talk, tiny_model):
    code = "from mixcodec.cli.main import main; raise SystemExit(main())"
    call = [sys.executable, "-c", code, "encode", "talk.wav", "-o", "-", "--model", str(tiny_model)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, cwd=talk, stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_progress_waits_and_stays_off_without_a_terminal(monkeypatch, capsys):
    from mixcodec.cli import progress

    with progress.progress_bar("x") as report:
        assert report is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.progress_bar("waiting") as report:
        report(1, 100)
    assert "waiting" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.progress_bar("working") as report:
        report(1, 100)
        report(2, 100)
    assert "working" in capsys.readouterr().err
