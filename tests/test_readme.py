"""The README's promises: its commands are what CI runs, and they work."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mixcodec import load, read_audio
from mixcodec.cli.main import COMMANDS, EXTRAS, main
from mixcodec.models import shipped_models

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"(?:<!-- command: (\S+) -->\n)?```(\w+)\n(.*?)```", README, re.DOTALL)
NAMED = {name: text for name, _, text in BLOCKS if name}


def command_lines() -> list[list[str]]:
    """The arguments of every `mixcodec` in the README's shell blocks, in order."""
    words = [shlex.split(line, comments=True) for _, kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    lines = []
    for line in words:
        for start, word in enumerate(line):
            if Path(word).name == "mixcodec":
                rest = line[start + 1 :]
                lines.append(rest[: rest.index("&&")] if "&&" in rest else rest)
    return lines


RUNTIME_LINES = [line for line in command_lines() if line[0] not in EXTRAS and "my-model" not in line]
WORKSHOP_LINES = [line for line in command_lines() if line[0] in EXTRAS or "my-model" in line]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what a clone has for the commands, and nothing else."""
    (tmp_path / "examples").mkdir()
    for clip in (ROOT / "examples").glob("*.flac"):
        (tmp_path / "examples" / clip.name).write_bytes(clip.read_bytes())
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["setup", "main-job", "tests"])
def test_ci_runs_the_readmes_own_commands(name):
    printed = subprocess.run([ROOT / ".ci" / "run", "--print", name], capture_output=True, text=True, check=True).stdout
    assert printed == NAMED[name]
    assert printed.count("\n") == 1, "one line to copy"
    assert f"run_block {name}\n" in (ROOT / ".ci" / "run").read_text()


def test_the_readme_shows_every_command():
    assert {line[0] for line in command_lines()} == set(COMMANDS)


def test_the_model_table_lists_what_is_shipped():
    rows = set(re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE))
    assert rows == set(shipped_models())


def test_every_runtime_line_works(workplace, capsys):
    assert len(RUNTIME_LINES) >= 6
    for line in RUNTIME_LINES:
        assert main(line) == 0, f"mixcodec {shlex.join(line)}: {capsys.readouterr().err}"
        assert capsys.readouterr().out.strip()


def test_the_main_job_prints_rate_and_size_and_where_the_result_is(workplace, capsys):
    (line,) = [line for line in command_lines() if line[0] == "roundtrip"]
    assert main(line) == 0
    said = capsys.readouterr().out
    places = [workplace / place for place in re.findall(r"\S+\.(?:mxc|wav)$", said, re.MULTILINE)]
    assert {place.suffix for place in places} == {".mxc", ".wav"}
    for place in places:
        assert str(place.relative_to(workplace)) in README
    mxc = next(place for place in places if place.suffix == ".mxc")
    before, rate = read_audio(workplace / line[1])
    after, rate_after = read_audio(next(place for place in places if place.suffix == ".wav"))
    assert (after.shape, rate_after) == (before.shape, rate)
    assert f"{mxc.stat().st_size} bytes" in said
    assert f"{mxc.stat().st_size * 8 / (len(before) / rate) / 1000:.3f} kbps" in said


@pytest.mark.parametrize("line", WORKSHOP_LINES, ids=" ".join)
def test_every_workshop_line_parses(line, workplace):
    from mixcodec.cli.main import _parse
    from mixcodec.train import load_recipe

    if line[0] not in EXTRAS:
        line = [word.replace("my-model", "speech-16k") for word in line]
    command = getattr(__import__(f"mixcodec.cli.{line[0]}", fromlist=[line[0]]), line[0])
    assert _parse(command, line[0], line[1:]) is not None
    if line[0] == "train":
        recipe = load_recipe(line[1], line[2:])
        assert (recipe.data.root, recipe.data.validation_fraction) == ("recordings", 0.05)
        assert str(recipe.folder) in README, "the README exports from where the recipe trains to"


def test_the_python_examples_work(workplace):
    examples = [text for _, kind, text in BLOCKS if kind == "python"]
    assert len(examples) == 3
    room: dict = {}
    exec(examples[0], room)
    assert room["again"].shape == room["wave"].shape
    assert room["tokens"].kbps == 3
    pieces, chunks = [], []

    class Notes:
        """A stream that writes down what comes out of another."""

        def __init__(self, stream, notes):
            self.stream, self.notes = stream, notes

        def push(self, chunk):
            self.notes.append(self.stream.push(chunk))
            return self.notes[-1]

        def finish(self):
            self.notes.append(self.stream.finish())
            return self.notes[-1]

    class Noted:
        """The codec, with its streams noted."""

        def stream_encoder(self, **options):
            return Notes(room["real"].stream_encoder(**options), chunks)

        def stream_decoder(self, **options):
            return Notes(room["real"].stream_decoder(**options), pieces)

    room |= {"real": room["codec"], "codec": Noted()}
    exec(examples[1], room)
    codes, sound = np.concatenate(chunks), np.concatenate(pieces)
    assert codes.shape == room["tokens"].codes.shape
    assert (codes == room["tokens"].codes).mean() >= 0.999
    assert np.abs(sound[: len(room["again"])] - room["again"]).max() < 1e-3
    room["codec"] = room["real"]
    exec(examples[2], room)
    assert np.abs(room["sound"] - room["again"][2 * room["sample_rate"] : round(3.5 * room["sample_rate"])]).max() < 1e-3
    assert room["receiver"].lost == 25


def test_the_table_of_models_agrees_with_the_models():
    for name in shipped_models():
        codec = load(name)
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        default = codec.min_kbps() * codec.config.default_codebooks
        size = sum(path.stat().st_size for path in codec.config.folder.iterdir()) / 1e6
        steps = f"{codec.min_kbps():g} to {codec.max_kbps():g} kbps in steps of {codec.min_kbps():g} (default {default:g})"
        assert (steps if codec.codebooks > 1 else f"{default:g} kbps") in row
        books = "codebooks" if codec.codebooks > 1 else "codebook"
        assert f"{codec.frame_rate:g} Hz, {codec.codebooks} {books} of {codec.codebook_size}" in row
        assert f"| {(codec.hop + codec.delay) / codec.sample_rate * 1000:g} ms |" in row
        assert f"{size:.0f} MB" in row


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) >= 5
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_guide_of_evaluation_names_every_metric_and_every_codec():
    from mixcodec.evaluate.baselines import CODERS
    from mixcodec.evaluate.metrics import DEFAULT, METRICS

    guide = (ROOT / "docs" / "evaluation.md").read_text()
    metrics = re.findall(r"^\| `(\w+)` \| .* \| `(eval[\w-]*)` \|$", guide, re.MULTILINE)
    assert [kind for kind, _ in metrics][: len(DEFAULT)] == list(DEFAULT)
    assert dict(metrics) == {kind: METRICS.build(kind).extra for kind in METRICS.kinds()}
    followed = re.findall(r"^\| `(\w+)` \| [^|]* † \|", guide, re.MULTILINE)
    assert followed == [kind for kind, _ in metrics if METRICS.build(kind).scales[0].followed]
    codecs = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| .* \| .* \|$", guide, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(codecs))) >= set(CODERS.kinds())
