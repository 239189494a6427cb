"""The house itself: what is on which floor, what is installed with it, what must not be in it."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import mixcodec
from mixcodec.judges.distillmos import INSTALL
from mixcodec.models import variants_in

ROOT = Path(__file__).parent.parent
WORKSHOP = ("torch", "lightning_fabric", "onnx", "onnxscript", "safetensors", "tensorboard", "yaml")
RUNTIME = {"constriction", "numpy", "onnxruntime", "rich", "soundfile", "soxr", "tyro"}
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {WORKSHOP!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def tracked_files() -> list[Path]:
    """Every file that git tracks or would add; where there is no git, every file of the source tree."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        folders = ("src", "tests", "configs", "docs", "examples")
        return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for name in names if name and (path := ROOT / name).is_file()]


def without_workshop(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter in which importing anything of the workshop fails."""
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True)


def test_blocking_the_workshop_blocks_it():
    for module in (*WORKSHOP, "mixcodec.nn.codec"):
        assert "ModuleNotFoundError: No module named" in without_workshop(f"import {module}").stderr


@pytest.mark.parametrize("name", [*mixcodec.__all__])
def test_public_names_need_no_torch(name):
    done = without_workshop(f"import mixcodec; mixcodec.{name}")
    assert done.returncode == 0, done.stderr


def test_runtime_floor_imports_without_torch():
    floor = ["audio", "bitstream", "errors", "files", "models", "runtime", "tokens"]
    modules = [f"mixcodec.{name}" for name in floor]
    for package in ("audio", "bitstream", "runtime"):
        folder = ROOT / "src" / "mixcodec" / package
        modules += [f"mixcodec.{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    modules += [f"mixcodec.cli.{path.stem}" for path in sorted((ROOT / "src/mixcodec/cli").glob("*.py"))]
    modules = [name.removesuffix(".__init__") for name in modules]
    done = without_workshop(f"import importlib\nfor name in {modules!r}: importlib.import_module(name)")
    assert done.returncode == 0, done.stderr


def test_runtime_works_without_torch(tiny_model, tmp_path):
    code = f"""
import numpy, mixcodec
from mixcodec.cli.main import main
mixcodec.write_audio({str(tmp_path / "in.wav")!r}, numpy.zeros(1000, "float32"), 8000)
for line in (["encode", "in.wav"], ["info", "in.mxc"], ["decode", "in.mxc", "-o", "out.wav"], ["roundtrip", "in.wav"]):
    line = [{str(tmp_path)!r} + "/" + word if "." in word else word for word in line]
    assert main(line + ([] if line[0] == "info" else ["--model", {str(tiny_model)!r}])) == 0, line
assert main(["models"]) == 0
"""
    done = without_workshop(code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.wav").is_file()


def test_a_plain_install_brings_the_runtime_alone():
    plain = [line for line in requires("mixcodec") or [] if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line).group() for line in plain} == RUNTIME


def test_version_is_the_installed_one_and_the_newest_in_the_changelog():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert mixcodec.__version__ == version("mixcodec") == newest[1]


def test_constraints_pin_every_direct_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in wanted} - {"mixcodec"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    assert names <= {line.split("==")[0] for line in lines}


def test_what_no_extra_can_bring_is_pinned_and_installed_by_ci_and_told_by_the_guide():
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    command, packages = INSTALL.split("--no-deps ")
    assert command == "pip install "
    assert set(packages.split()) <= pinned
    assert f".venv/bin/pip install -c constraints.txt --no-deps {packages}" in (ROOT / ".ci" / "run").read_text()
    assert f"\n{INSTALL}\n" in (ROOT / "docs" / "evaluation.md").read_text()


def test_no_file_names_a_place_on_somebodys_machine():
    own = re.escape(str(ROOT).encode()) if len(ROOT.parts) > 2 else b"$^"
    place = re.compile(rb"(?<![\w.~$}/-])/(?:home|root|work|Users|mnt|scratch)/\w|" + own + rb"\b")
    text = [path for path in tracked_files() if path.suffix not in (".flac", ".onnx", ".safetensors", ".wav", ".mxc")]
    assert len(text) > 50
    found = [str(path.relative_to(ROOT)) for path in text if path != Path(__file__) and place.search(path.read_bytes())]
    assert found == []


def test_no_tracked_file_is_large():
    large = {path.name: path.stat().st_size for path in tracked_files() if path.stat().st_size > 20_000_000}
    assert large == {}


def test_shipped_models_fit_their_budget():
    home = ROOT / "src" / "mixcodec" / "models"
    for folder in (path.parent for path in home.glob("*/config.json")):
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 40e6
        assert {path.name for path in folder.iterdir()} >= {"card.md", "config.json"}
        assert variants_in(folder)
