"""The quantizer of docs/extend/quantizer.md, as it stands there, held to the laws of the family and to what it says."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
import torch

from mixcodec import outside
from mixcodec.cli.main import _parse
from mixcodec.nn import processes
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.testing import LawError, check_quantizer
from mixcodec.train import load_recipe

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "extend" / "quantizer.md").read_text()
EXAMPLE, CHECK = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
LINES = [shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
CHANNELS = 6


@pytest.fixture(autouse=True)
def _beside_the_part(monkeypatch, tmp_path):
    """A working directory with the guide's file, and a registry that forgets it."""
    monkeypatch.setattr(QUANTIZERS, "_classes", dict(QUANTIZERS._classes))
    for name in ("_origins", "_loaded"):
        monkeypatch.setattr(outside, name, type(getattr(outside, name))(getattr(outside, name)))
    monkeypatch.setenv(outside.VARIABLE, "")
    (tmp_path / "my_parts.py").write_text(EXAMPLE)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def halves():
    outside.import_parts(["my_parts.py"])


def test_it_obeys_all_laws_as_the_guide_says():
    exec(compile(CHECK, "docs/extend/quantizer.md", "exec"), {})


@pytest.mark.parametrize(
    ("there", "instead", "law"),
    [
        ("sum_over_processes(sums)", "", "processes_that_learn_together_agree"),
        ("x[x.isfinite().all(-1)]", "x.flatten(0, 1)", "frames_that_are_no_numbers_do_no_harm"),
        ("return codes, self._stands_for(codes)", "return codes, 2 * self._stands_for(codes)", "codes_and_vectors_agree"),
        (
            'self.register_buffer("middle", torch.full((bits,), 0.8))',
            "self.middle = torch.full((bits,), 0.8)",
            "weights_carry_all",
        ),
        ("(x > 0).long()", "(x > x.mean()).long()", "frame_is_encoded_alone"),
        ("* kept).sum() / kept.sum()", "* 1).sum() / kept.sum()", "inactive_items_have_no_influence"),
    ],
)
def test_what_breaks_a_law_is_found(there, instead, law, tmp_path):
    assert there in EXAMPLE
    (tmp_path / "other.py").write_text(EXAMPLE.replace(there, instead))
    outside.import_parts([str(tmp_path / "other.py")])
    with pytest.raises(LawError, match=law):
        check_quantizer({"kind": "halves", "bits": 4}, exported=False)


def test_what_it_names_is_there():
    for name in re.findall(r"`(\w+_(?:processes|from_all))`", GUIDE):
        assert callable(getattr(processes, name))
    assert {line[1] for line in LINES} == {"train", "compare"}
    for line in LINES:
        command = getattr(__import__(f"mixcodec.cli.{line[1]}", fromlist=[line[1]]), line[1])
        assert _parse(command, line[1], line[2:]).keywords["imports"] == ("my_parts.py",)


def test_the_example_is_short():
    assert len(EXAMPLE.splitlines()) < 60


def test_codes_are_the_signs_and_entries_the_corners(halves):
    quantizer = QUANTIZERS.build({"kind": "halves", "bits": 4}, channels=CHANNELS)
    z = torch.randn(3000, CHANNELS) @ torch.diag(torch.linspace(2, 0.5, CHANNELS)) + 1
    quantizer.start(z)
    x = quantizer.eval().enter(z)
    codes = quantizer.vectors_to_codes(z)
    assert codes[:, 0].tolist() == [sum((number > 0) << k for k, number in enumerate(row)) for row in x.tolist()]
    corners = torch.tensor([signs[::-1] for signs in itertools.product([-1.0, 1.0], repeat=4)]) * x.abs().mean(0)
    torch.testing.assert_close(quantizer.codes_to_vectors(torch.arange(16)[:, None]), quantizer.leave(corners))
    assert (quantizer.codes_to_vectors(codes) - z).square().mean() < 0.6 * (z - z.mean(0)).square().mean()


def test_it_learns_and_answers_to_the_protocol(halves):
    quantizer = QUANTIZERS.build(
        {"kind": "residual", "codebooks": 3, "codebook": {"kind": "halves", "bits": 4}}, channels=CHANNELS
    )
    z = torch.randn(2, 500, CHANNELS, requires_grad=True)
    middle = quantizer.levels[0].middle.clone()
    quantized = quantizer(z, torch.tensor([1, 3]))
    (quantized.vectors.square().mean() + quantized.loss).backward()
    assert all(p.grad is not None and p.grad.any() for p in quantizer.parameters())
    assert not torch.equal(quantizer.levels[0].middle, middle)
    quantizer.eval()
    codes, vectors, _, usage = quantizer(z)
    assert torch.equal(codes, quantizer.vectors_to_codes(z))
    torch.testing.assert_close(vectors, quantizer.codes_to_vectors(codes))
    assert usage.shape == (3,)
    seen = QUANTIZERS.build({"kind": "halves"}, channels=CHANNELS)
    bad = torch.full((1, 5, CHANNELS), float("nan"))
    seen(bad)
    assert seen.middle.isfinite().all()


def test_the_recipe_takes_it(halves):
    (override,) = re.findall(r'"(codec\.quantizer=.*?)"', GUIDE)
    net = CodecNet(load_recipe(ROOT / "configs" / "starter.yaml", [override]).codec)
    assert (net.codebooks, net.codebook_size) == (8, 1024)
