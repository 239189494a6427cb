"""The quantizer of docs/extend/quantizer.md, as it stands there, held to the laws of the family and to what it says."""

import itertools
import re
from pathlib import Path

import pytest
import torch

from mixcodec.nn.codec import CodecNet
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.train import load_recipe

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "extend" / "quantizer.md").read_text()
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
CHANNELS = 6


@pytest.fixture(scope="module")
def halves():
    """The class of the guide, registered for as long as the tests here run."""
    names = {}
    exec(compile(EXAMPLE, "docs/extend/quantizer.md", "exec"), names)
    yield names["Halves"]
    del QUANTIZERS._classes["halves"]


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
    net = CodecNet(load_recipe(ROOT / "configs" / "speech-16k.yaml", [override]).codec)
    assert (net.codebooks, net.codebook_size) == (8, 1024)
