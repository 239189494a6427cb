"""The claims on mixers at small scale, by arithmetic alone: nothing here depends on a clock."""

import itertools
import re

import numpy as np
import pytest
import torch

from mixcodec.evaluate.claims import mixers
from mixcodec.evaluate.claims.mixers import EXPONENTS, Form, exponent, forms, growth, scans
from mixcodec.nn.mixers import MIXERS, cost
from mixcodec.nn.mixers.base import GROWTHS

LENGTHS = (128, 256, 512, 1024)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_the_exponent_is_that_of_what_grows(p, offset):
    noise = np.random.default_rng(0).normal(1, 0.003, 7)
    lengths = 256 * 2 ** np.arange(7)
    assert exponent(lengths, 7 * (offset * 256**p + lengths**p) * noise) == pytest.approx(p, abs=0.04)


def test_every_kind_that_serves_a_line_is_measured_and_declares_a_growth():
    found = forms()
    assert {form.kind for form in found} == {kind for kind in MIXERS.kinds() if 1 in MIXERS.build(kind, channels=32).grid_ranks}
    assert {form.build(32, 64).growth for form in found} == set(GROWTHS) == set(EXPONENTS)


@torch.no_grad()
@pytest.mark.parametrize("form", forms(), ids=lambda form: f"{form.kind} {'causal' if form.causal else 'centred'}")
def test_the_arithmetic_of_every_form_grows_as_it_declares(form):
    declared = form.build(32, 64).growth
    lengths = (256, 512, 1024) if declared == "quadratic" else (1024, 2048, 4096)  # some do 512 tokens at once
    costs = [n * cost(form.build(32, n), 32, (n,)).operations for n in lengths]
    if form.kind == "identity":
        assert costs == [0] * 3
        return
    slope = np.log2((costs[2] - costs[1]) / (costs[1] - costs[0]))  # of a line 1, whatever it begins with
    least, most = {"linear": (0.9, 1.03), "n log n": (1.04, 1.15), "quadratic": (1.3, 2.1)}[declared]
    assert least < slope < most


def test_the_bounds_of_growths_are_apart_and_hold_those_of_the_bare_formulas():
    bounds = [EXPONENTS[growth] for growth in GROWTHS]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(bounds))
    n = np.array(mixers.LENGTHS)
    for (low, high), formula in zip(bounds, (n, n * np.log2(n), n**2.0), strict=True):
        assert low < exponent(mixers.LENGTHS, formula) < high


@pytest.mark.parametrize(
    ("kind", "declared", "told"),
    [
        ("fourier", "quadratic", r"2 of 3 .* not of fourier centred \(1.1"),
        ("fourier", "linear", r"2 of 3 .* not of fourier centred \(1.1"),
        ("pooling", "n log n", r"1 of 3 .* not of pooling causal \(1.00\), pooling centred \(1.00\)"),
        ("pooling", "linear", "3 of 3 "),
    ],
)
def test_a_kind_that_declares_wrongly_is_named(kind, declared, told, monkeypatch):
    monkeypatch.setattr(MIXERS._classes[kind], "growth", declared)
    monkeypatch.setattr(mixers, "seconds", lambda run: 1e-3)
    claim = growth(8, LENGTHS, ["fourier", "pooling"])
    assert re.search(f"of {told}", claim.verdict)
    assert ("It does not" in claim.verdict) == ("not" in told)
    assert [row[2] for row in claim.rows if row[0] == kind] == [declared] * (1 if kind == "fourier" else 2)
    assert [row[:2] for row in claim.rows] == [["fourier", "centred"], ["pooling", "causal"], ["pooling", "centred"]]
    assert all(1 <= float(row[3]) < 1.2 for row in claim.rows)


def test_a_form_stops_before_it_takes_too_long(monkeypatch):
    ticks = itertools.count(1)
    monkeypatch.setattr(mixers, "seconds", lambda run: 0.1 * next(ticks))
    claim = growth(8, LENGTHS, ["fourier"], most=0.5)
    assert claim.rows[0][5] == "512"  # at 1024 it would take 0.6
    assert claim.verdict.endswith(
        f"Before {LENGTHS[-1]:,} tokens stop those that would take more than 0.5 s: fourier centred (512)."
    )
    assert "| fourier | centred | n log n |" in str(claim)


def test_the_scans_that_are_timed_are_those_of_the_mixers(monkeypatch):
    """The slow ones are named, and every run runs."""
    times = itertools.cycle([1.0, 0.1, *[2.0] * 7, 4.5])
    monkeypatch.setattr(mixers, "seconds", lambda run, least, runs: (run(), next(times))[1])
    claim = scans(16, 40, rounds=1)
    assert [row[0] for row in claim.rows[2:]] == [
        *(f"scan of {kind}" for kind in ("retention", "gla", "ssd", "ssm")),
        *(f"mixer {kind}" for kind in ("retention", "gla", "ssd", "ssm")),
    ]
    assert claim.verdict == "More than three times as long as a plain causal convolution: mixer ssm (4.5); all others take less."


def test_the_command_prints_a_table(monkeypatch, capsys):
    monkeypatch.setitem(mixers.CLAIMS, "growth", lambda: growth(8, (64, 128), ["identity"]))
    monkeypatch.setattr("sys.argv", ["mixers", "growth"])
    assert mixers.main() == 0
    assert "| identity | causal | linear | none |" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["growths"], ["--claim", "growth"], ["growth", "scans"]])
def test_a_wrong_word_is_one_line(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mixers", *words])
    assert mixers.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    assert said.err.endswith("; see python -m mixcodec.evaluate.claims.mixers --help\n")
    assert words[-1 if len(words) == 2 and words[0] == "growth" else 0] in said.err


def test_sized_kinds_are_made_for_the_length():
    assert Form("mixer_mlp", False).build(8, 40)(torch.randn(1, 40, 8)).shape == (1, 40, 8)
