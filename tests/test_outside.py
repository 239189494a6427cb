"""Parts from outside: by file, by module, by the entry points of installed packages; and what goes wrong with them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from mixcodec import outside
from mixcodec.cli.main import main
from mixcodec.errors import ConfigError, PartError
from mixcodec.evaluate.baselines import CODERS
from mixcodec.evaluate.metrics import METRICS
from mixcodec.evaluate.results import read_results
from mixcodec.losses.discriminators import DISCRIMINATORS
from mixcodec.nn.channels import CHANNELS
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.nn.transforms import TRANSFORMS
from mixcodec.registry import Registry

FAMILIES = {
    "MIXERS": MIXERS,
    "CHANNELS": CHANNELS,
    "QUANTIZERS": QUANTIZERS,
    "TRANSFORMS": TRANSFORMS,
    "DISCRIMINATORS": DISCRIMINATORS,
    "METRICS": METRICS,
    "CODERS": CODERS,
}
PARTS = """
import torch
from mixcodec.losses.discriminators.spectral import MultiResolution
from mixcodec.losses.discriminators import DISCRIMINATORS
from mixcodec.nn.channels.base import CHANNELS
from mixcodec.nn.channels.mlp import Mlp
from mixcodec.nn.mixers.base import MIXERS
from mixcodec.nn.mixers.convolution import Convolution
from mixcodec.nn.quantizers.base import QUANTIZERS
from mixcodec.nn.quantizers import Residual
from mixcodec.nn.transforms import TRANSFORMS, Stft
from neighbour import ANSWER

MIXERS.register("my-mixer")(type("MyMixer", (Convolution,), {}))
CHANNELS.register("my-channel")(type("MyChannel", (Mlp,), {}))
QUANTIZERS.register("my-quantizer")(type("MyQuantizer", (Residual,), {}))
TRANSFORMS.register("my-transform")(type("MyTransform", (Stft,), {}))
DISCRIMINATORS.register("my-discriminator")(type("MyDiscriminator", (MultiResolution,), {}))
"""
JUDGES = """
import shutil
import numpy as np
from mixcodec.evaluate.baselines.base import CODERS, Coder
from mixcodec.evaluate.metrics.base import METRICS, Metric, Scale

@METRICS.register("loudest")
class Loudest(Metric):
    kind = "loudest"
    scales = (Scale("loudest", "loudest sample", 0.0, 1.0, True),)
    source = "here"
    sample_rate = None

    def measure(self, prepared, wave, sample_rate):
        return {"loudest": float(np.abs(wave).max())}

@CODERS.register("copied")
class Copied(Coder):
    kind, source, settings, suffix = "copied", "here", "", ".wav"

    def encode(self, source, target):
        shutil.copy(source, target)

    decode = encode
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    for family in FAMILIES.values():
        monkeypatch.setattr(family, "_classes", dict(family._classes))
    for name in ("_origins", "_loaded", "_looked"):
        monkeypatch.setattr(outside, name, type(getattr(outside, name))(getattr(outside, name)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv(outside.VARIABLE, "")
    modules = dict(sys.modules)
    yield
    for name in [name for name in sys.modules if name not in modules and not name.startswith(("torch", "mixcodec."))]:
        if name.startswith(("mixcodec_parts", "neighbour", "my_")):
            del sys.modules[name]


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "neighbour.py").write_text("ANSWER = 42\n")
    (tmp_path / "my_parts.py").write_text(PARTS)
    return tmp_path / "my_parts.py"


@pytest.fixture
def recipe(tmp_path, parts):
    """The words of a short training of a codec all of whose parts come from outside."""
    t = np.arange(16000) / 16000
    (tmp_path / "sound").mkdir()
    for f in (200, 300):
        sf.write(tmp_path / "sound" / f"{f}.wav", 0.3 * np.sin(2 * np.pi * f * t * (1 + t)), 16000)
    stack = {"width": 8, "stages": [{"mixer": {"kind": "my-mixer", "kernel": 3}, "channel": "my-channel"}]}
    values = {
        "name": "mine",
        "codec": {
            "sample_rate": 16000,
            "latent": 8,
            "transform": {"kind": "my-transform", "hop": 160},
            "encoder": stack,
            "quantizer": {"kind": "my-quantizer", "codebooks": 2, "codebook": {"size": 16, "dim": 4}},
            "decoder": stack,
        },
        "adversary": {
            "begin": 0,
            "discriminator": {"kind": "my-discriminator", "windows": [128], "bands": 4, "width": 8, "depth": 2},
            "crop_seconds": 0.2,
        },
        "data": {"segment_seconds": 0.3, "batch_size": 2, "processes": 1},
        "codebooks_from": 1,
        "start_frames": 100,
        "accelerator": "cpu",
        "precision": "32-true",
        "steps": 2,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    places = [f"data.root={tmp_path / 'sound'}", f"data.cache_dir={tmp_path / 'cache'}", f"out={tmp_path / 'run'}"]
    return [str(tmp_path / "recipe.yaml"), *places]


def alone(*words, environ=()):
    """The command in a process of its own, in which nothing has been imported yet."""
    code = "import sys; from mixcodec.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environ = os.environ | {outside.VARIABLE: ""} | dict(environ)
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, env=environ)


def test_a_file_registers_parts_of_every_family(parts):
    before = {name: set(family.kinds()) for name, family in FAMILIES.items()}
    (parts.parent / "judges.py").write_text(JUDGES)
    outside.import_parts([str(parts), str(parts.parent / "judges.py")])
    new = {name: set(family.kinds()) - before[name] for name, family in FAMILIES.items()}
    assert new == {
        "MIXERS": {"my-mixer"},
        "CHANNELS": {"my-channel"},
        "QUANTIZERS": {"my-quantizer"},
        "TRANSFORMS": {"my-transform"},
        "DISCRIMINATORS": {"my-discriminator"},
        "METRICS": {"loudest"},
        "CODERS": {"copied"},
    }


def test_by_any_name_it_is_imported_once(parts, monkeypatch):
    (parts.parent / "link.py").symlink_to(parts)
    monkeypatch.chdir(parts.parent)
    outside.import_parts([str(parts), "my_parts.py", "link.py", "./my_parts.py"])
    assert os.environ[outside.VARIABLE] == str(parts)
    (parts.parent / "my_other.py").write_text("from mixcodec.nn.mixers import MIXERS, Convolution\n")
    outside.import_parts(["my_other", "my_other"])
    assert os.environ[outside.VARIABLE].split(os.pathsep) == [str(parts), "my_other"]


def test_train_export_and_use(recipe, parts, tmp_path, capsys):
    """Trained and exported with --import; what comes out needs no part of anybody to encode and decode."""
    model = str(tmp_path / "model")
    assert main(["train", *recipe, "--import", str(parts)]) == 0
    assert main(["export", str(tmp_path / "run" / "last.safetensors"), model, "--no-tables", "--import", str(parts)]) == 0
    done = alone("roundtrip", tmp_path / "sound" / "200.wav", "-o", tmp_path / "x.wav", "--model", model)
    assert done.returncode == 0, done.stderr
    for words in (["export", tmp_path / "run" / "last.safetensors", model, "--no-tables"], ["train", *recipe, "steps=3"]):
        done = alone(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "last.safetensors: needs the part 'my-" in done.stderr
        assert "of my_parts.py: give it with --import my_parts.py" in done.stderr
    starter = Path(__file__).parent.parent / "configs" / "starter.yaml"
    done = alone("train", starter, *recipe[1:3], f"out={tmp_path / 'other'}", "--initial", model)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"{model}: needs the part 'my-" in done.stderr
    done = alone("train", *recipe, "steps=3", environ={outside.VARIABLE: str(parts)})
    assert done.returncode == 0, done.stderr


def test_a_metric_and_a_codec_from_outside_in_several_processes(tmp_path, capsys, monkeypatch):
    (tmp_path / "judges.py").write_text(JUDGES)
    (tmp_path / "clips").mkdir()
    for f in (200, 300):
        sf.write(tmp_path / "clips" / f"{f}.wav", 0.3 * np.sin(2 * np.pi * f * np.arange(16000) / 16000), 16000)
    words = ["--codecs", "copied", "--data", tmp_path / "clips", "--no-gates", "--jobs", 2, "--metrics", "loudest", "mel"]
    monkeypatch.setattr(sys, "argv", ["mixcodec"])
    assert main(list(map(str, ["eval", *words, "--out", tmp_path / "o", "--import", tmp_path / "judges.py"]))) == 0
    rows = read_results(tmp_path / "o" / "results.parquet").rows
    assert [round(row.scores["loudest"], 2) for row in rows] == [0.3, 0.3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('no')", "SystemExit: no"),
        (
            "from mixcodec.nn.mixers import MIXERS, Convolution\n"
            "MIXERS.register('fresh')(Convolution)\nMIXERS.register('pooling')(Convolution)",
            "mixer 'pooling' is registered twice: it is mixcodec.nn.mixers.pooling.Pooling already, give it another kind",
        ),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(text, said, tmp_path, recipe, capsys):
    (tmp_path / "bad.py").write_text(text)
    assert main(["train", *recipe, "--import", str(tmp_path / "bad.py")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mixcodec: ")
    assert error.count("\n") == 1
    assert said in error
    assert "bad.py: cannot be imported as parts" in error
    assert "fresh" not in MIXERS.kinds()
    assert os.environ[outside.VARIABLE] == ""


def test_two_files_with_one_kind_name_each_other(parts):
    (parts.parent / "again.py").write_text(parts.read_text())
    outside.import_parts([str(parts)])
    with pytest.raises(PartError, match=r"again\.py: .*mixer 'my-mixer' is registered twice: it is .*MyMixer already"):
        outside.import_parts([str(parts.parent / "again.py")])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.py", "none.py: no such file"),
        ("folder.py", "folder.py: is a folder"),
        ("no_such_module", "no_such_module: cannot be imported as parts (ModuleNotFoundError"),
        ("no such", "no such: cannot be imported as parts"),
        ("", "cannot be imported as parts"),
        ("./notes.txt", "notes.txt: is no Python file"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(name, said, tmp_path, monkeypatch):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PartError) as error:
        outside.import_parts([name])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def installed(folder: Path, name: str, module: str, text: str) -> None:
    """A package, installed in `folder`, that announces a module of parts."""
    (folder / f"{module}.py").write_text(text)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[mixcodec.parts]\nparts = {module}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    outside._looked.clear()
    return tmp_path / "site"


GOOD = "from mixcodec.nn.mixers import MIXERS, Convolution\nMIXERS.register('packaged')(type('Packaged', (Convolution,), {}))\n"


def test_installed_packages_announce_theirs(site, caplog):
    installed(site, "good-parts", "my_good", GOOD)
    installed(site, "bad-parts", "my_bad", GOOD.replace("packaged", "half") + "1 / 0\n")
    assert MIXERS.build("packaged", channels=4).causal
    assert "packaged" in MIXERS.kinds()
    assert "half" not in MIXERS.kinds()
    (line,) = [line for line in caplog.messages if "left out" in line]
    assert "bad-parts (my_bad): cannot be imported as parts (ZeroDivisionError" in line
    with pytest.raises(ConfigError, match="no mixer 'halff': "):
        MIXERS.build("halff", channels=4)


def test_what_builds_no_parts_imports_none(site, tiny_model, tmp_path):
    """encode and its like do not even look, and a recipe of the package's own parts does without, too."""
    installed(site, "loud-parts", "my_loud", f"open({str(tmp_path / 'imported')!r}, 'w').write('x')\n")
    sf.write(tmp_path / "in.wav", np.zeros(1000), 16000)
    environ = {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    for words in (
        ["encode", tmp_path / "in.wav", "-o", tmp_path / "in.mxc", "--model", tiny_model],
        ["decode", tmp_path / "in.mxc", "-o", tmp_path / "out.wav", "--model", tiny_model],
        ["info", tmp_path / "in.mxc"],
        ["info", tiny_model],
        ["models"],
    ):
        done = alone(*words, environ=environ | {outside.VARIABLE: "not_there_either"})
        assert done.returncode == 0, done.stderr
    code = "from mixcodec.nn.mixers import MIXERS; MIXERS.build('pooling', channels=4)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | environ, check=True)
    assert not (tmp_path / "imported").exists()
    subprocess.run([sys.executable, "-c", code.replace("build('pooling', channels=4)", "kinds()")], env=os.environ | environ)
    assert (tmp_path / "imported").exists()


def test_a_closed_family_looks_for_nothing(monkeypatch):
    monkeypatch.setattr(outside, "discover", lambda: pytest.fail("it looks outside"))
    closed = Registry("part")
    assert closed.kinds() == []
    with pytest.raises(ConfigError, match=r"no part 'x': known: $"):
        closed.build("x")


def test_used_kinds_are_those_from_outside(parts):
    outside.import_parts([str(parts)])
    config = {"encoder": {"stages": [{"mixer": "my-mixer", "channel": {"kind": "my-channel"}}]}, "latent": 3, "mixer": "pooling"}
    assert outside.used_in(config) == {"my-mixer": "my_parts.py", "my-channel": "my_parts.py"}
    outside.check_used(outside.used_in(config), "here")
    with pytest.raises(PartError, match=r"^run/last: needs the part 'gone' of their_package: install it, or give it with"):
        outside.check_used({"gone": "their_package"}, "run/last")
