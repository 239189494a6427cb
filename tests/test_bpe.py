"""Byte-pair encoding over codes."""

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mixcodec.bpe import CodeBpe
from mixcodec.errors import FileError, MixcodecError, TokensError

GOLDEN = b'{"magic":"mixcodec-bpe","version":1,"crc32":2934195070,"codebooks":1,"codebook_size":4,"merges":[[0,1],[4,2]]}\n'


def speech_like(rng, frames, books=2, size=16):
    """Codes that stay for a while and prefer some successors."""
    first = np.repeat(rng.integers(0, size, frames), rng.integers(1, 4, frames))[:frames]
    return np.stack([(first * (k + 1) + (rng.random(frames) < 0.2)) % size for k in range(books)], 1)


def merged_one_by_one(symbols, merges):
    """The definition: the earliest merge that fits is done, from left to right, until none fits."""
    rank = {}
    symbols = list(symbols)
    for place, (a, b) in enumerate(merges):
        rank.setdefault((a, b), place)
    known = tokens_of(merges)
    while pairs := [(rank[p], i) for i, p in enumerate(itertools.pairwise(symbols)) if p in rank]:
        number, i = min(pairs)
        symbols[i : i + 2] = [known[number]]
    return symbols


def tokens_of(merges, base=32):
    """The token that each merge makes."""
    runs = {(s,): s for s in range(base)}
    by_number, made = {s: (s,) for s in range(base)}, []
    for a, b in merges:
        run = by_number[a] + by_number[b]
        made.append(runs.setdefault(run, len(runs)))
        by_number[made[-1]] = run
    return made


@pytest.fixture(scope="module")
def learned():
    rng = np.random.default_rng(0)
    return CodeBpe.learn([speech_like(rng, 300) for _ in range(20)], 16, 200)


CODES = arrays.arrays(np.int64, st.tuples(st.integers(0, 60), st.just(2)), elements=st.integers(0, 15))


@settings(max_examples=300, deadline=None)
@given(codes=CODES)
def test_the_codes_come_back_whatever_they_are(learned, codes):
    tokens = learned.codes_to_tokens(codes)
    assert len(tokens) <= codes.size
    back = learned.tokens_to_codes(tokens)
    assert back.shape == codes.shape
    assert (back == codes).all()


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_codes_come_back_whatever_was_learned(data):
    books, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 70))
    codes = arrays.arrays(np.int64, st.tuples(st.integers(0, 40), st.just(books)), elements=st.integers(0, size - 1))
    streams = data.draw(st.lists(codes, min_size=1, max_size=3))
    bpe = CodeBpe.learn(streams, size, books * size + data.draw(st.integers(0, 30)), seldom=1)
    for stream in (*streams, data.draw(codes)):
        assert (bpe.tokens_to_codes(bpe.codes_to_tokens(stream)) == stream).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_tokens_are_those_of_the_definition(learned, seed):
    codes = speech_like(np.random.default_rng(seed), 40)
    wanted = merged_one_by_one((codes + np.array([0, 16])).ravel().tolist(), learned.merges)
    assert learned.codes_to_tokens(codes).tolist() == wanted


def test_runs_that_come_often_become_shorter(learned):
    codes = speech_like(np.random.default_rng(1), 2000)
    assert len(learned.codes_to_tokens(codes)) < 0.6 * codes.size
    chance = np.random.default_rng(2).integers(0, 16, (2000, 2))
    assert len(learned.codes_to_tokens(chance)) > 0.8 * chance.size


def test_a_token_says_which_codes_it_stands_for(learned):
    for token in range(learned.vocabulary):
        parts = learned.token_codes(token)
        if len(parts) % 2 == 0 and parts[0][0] == 0:
            assert learned.tokens_to_codes(np.array([token])).ravel().tolist() == [code for _, code in parts]


def test_large_codebooks_have_a_character_each():
    codes = np.array([[0], [0xD7DE], [0xD7DF], [0xE000], [65535], [131071]] * 3)
    bpe = CodeBpe.learn([codes], 1 << 17, (1 << 17) + 5)
    assert bpe.vocabulary == (1 << 17) + 5
    tokens = bpe.codes_to_tokens(codes)
    assert len(tokens) < len(codes)
    assert (bpe.tokens_to_codes(tokens) == codes).all()


def test_the_file_is_as_specified(tmp_path):
    path = tmp_path / "merges.json"
    CodeBpe(1, 4, [(0, 1), (4, 2)]).save(path)
    assert path.read_bytes() == GOLDEN
    again = CodeBpe.load(path)
    assert (again.codebooks, again.codebook_size, again.merges, again.vocabulary) == (1, 4, ((0, 1), (4, 2)), 6)
    assert again.codes_to_tokens(np.array([[3], [0], [1], [2], [0], [1]])).tolist() == [3, 5, 4]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(magic="other"), "its magic"),
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d["merges"].append([0, 0]), "checksum"),
        (lambda d: d.pop("merges"), "make no sense"),
        (lambda d: d.update(crc32="no"), "checksum"),
    ],
)
def test_another_file_is_refused(tmp_path, change, says):
    path = tmp_path / "merges.json"
    CodeBpe(1, 4, [(0, 1)]).save(path)
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(FileError, match=says):
        CodeBpe.load(path)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        CodeBpe.load(tmp_path / "none.json")
    (tmp_path / "text").write_text("a b")
    with pytest.raises(FileError, match="no JSON"):
        CodeBpe.load(tmp_path / "text")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda b: b.codes_to_tokens(np.zeros((3, 1), int)), r"shape \(T, 2\)"),
        (lambda b: b.codes_to_tokens(np.full((3, 2), 16)), "from 0 to 15"),
        (lambda b: b.codes_to_tokens(np.zeros((3, 2))), "float64"),
        (lambda b: b.tokens_to_codes(np.array([b.vocabulary])), "tokens must be"),
        (lambda b: b.tokens_to_codes(np.array([0])), "no whole frames"),
        (lambda b: b.tokens_to_codes(np.array([16, 0])), "in turn"),
        (lambda b: CodeBpe.learn([], 16, 40), "at least one stream"),
        (lambda b: CodeBpe(0, 4), "0 codebooks"),
        (lambda b: CodeBpe(1, 4, [(4, 0)]), "tokens 4 and 0"),
    ],
)
def test_a_mistake_is_named(learned, call, says):
    with pytest.raises(TokensError, match=says):
        call(learned)


def test_decoding_does_without_the_library(learned, monkeypatch):
    codes = speech_like(np.random.default_rng(3), 50)
    tokens = learned.codes_to_tokens(codes)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    fresh = CodeBpe(2, 16, learned.merges)
    assert (fresh.tokens_to_codes(tokens) == codes).all()
    with pytest.raises(MixcodecError, match=r"pip install 'mixcodec\[bpe\]'"):
        fresh.codes_to_tokens(codes)


def test_the_guides_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[1] / "docs" / "bpe.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    exec(compile(example, "docs/bpe.md", "exec"), {})
    assert (tmp_path / "merges.json").is_file()
