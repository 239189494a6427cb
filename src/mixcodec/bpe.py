"""Byte-pair encoding over codes: runs of codes that often follow each other become one token, and back again exactly.

codes (T, K) --frame by frame--> symbols --merges--> tokens (n,), n <= T * K
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixcodec.arrays import as_array, integer, shown, whole
from mixcodec.errors import FileError, MixcodecError, TokensError
from mixcodec.files import atomic_output

MAGIC = "mixcodec-bpe"
VERSION = 1
MOST_SYMBOLS = 1_000_000  # each is a character for the tokenizer, and there are not many more
SURROGATES = range(0xD800, 0xE000)  # these alone are no characters
FIRST = 0x21  # characters before it are blanks and controls

Codes = NDArray[np.integer[Any]]


class CodeBpe:
    """Merges learned over codes of `codebooks` codebooks of `codebook_size` codes; frames of (T, K) are read one by one.

    Gage, 1994, A New Algorithm for Data Compression; Shen et al., 2024, Acoustic BPE for Speech Generation with Discrete
    Tokens; Zhu et al., 2023, Vec-Tok Speech: speech vectorization and tokenization for neural speech generation. Token number
    k * codebook_size + c is code c of codebook k; then come the merges, pairs of earlier tokens, in the order in which they
    are done. A language model then takes fewer, longer steps. Any codes have tokens, seen in training or not, and
    `tokens_to_codes` gives back just these. Learning and encoding need the package tokenizers (`mixcodec[bpe]`), decoding does
    not.

    Raises:
        TokensError: a number is out of its range, or a merge names a token that is not there yet.
    """

    def __init__(self, codebooks: int, codebook_size: int, merges: Sequence[tuple[int, int]] = ()) -> None:
        books, size = integer(codebooks), integer(codebook_size)
        if books is None or size is None or books < 1 or size < 1 or books * size > MOST_SYMBOLS:
            told = f"{shown(codebooks)} codebooks of {shown(codebook_size)} codes"
            raise TokensError(f"{told}: there must be at least one of each, and at most {MOST_SYMBOLS} in all")
        self.codebooks, self.codebook_size = books, size
        self.merges = tuple((int(a), int(b)) for a, b in merges)
        self._symbols: list[tuple[int, ...]] = [(s,) for s in range(books * size)]
        number = {symbols: i for i, symbols in enumerate(self._symbols)}
        for a, b in self.merges:
            if not (0 <= a < len(self._symbols) and 0 <= b < len(self._symbols)):
                raise TokensError(f"a merge of tokens {a} and {b}, where there are {len(self._symbols)} so far")
            merged = self._symbols[a] + self._symbols[b]
            if merged not in number:  # two ways may lead to the same run
                number[merged] = len(self._symbols)
                self._symbols.append(merged)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self._symbols)

    @classmethod
    def learn(cls, streams: Iterable[Codes], codebook_size: int, vocabulary: int, seldom: int = 2) -> CodeBpe:
        """Learns merges from streams of codes (T, K), until there are `vocabulary` tokens or no pair is found `seldom` times.

        Raises TokensError for codes out of range or of unlike K, and MixcodecError where the package tokenizers is missing.
        """
        vocabulary, seldom = (whole(n, "vocabulary and seldom", 0, 1 << 31, TokensError) for n in (vocabulary, seldom))
        arrays = [as_array(codes, "codes", TokensError) for codes in streams]
        if not arrays or any(a.ndim != 2 or a.shape[1] != arrays[0].shape[1] for a in arrays):
            raise TokensError("merges are learned from at least one stream of codes (T, K), all of one K")
        bpe = cls(arrays[0].shape[1], codebook_size)
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=seldom,
            initial_alphabet=[_character(s) for s in range(bpe.vocabulary)],
            show_progress=False,
        )
        tokenizer.train_from_iterator((_text(bpe._flat(a)) for a in arrays), trainer)
        number = {symbols: i for i, symbols in enumerate(bpe._symbols)}
        merges = []
        for pair in json.loads(tokenizer.to_str())["model"]["merges"]:
            first, second = (tuple(map(_symbol, part)) for part in pair)
            merges.append((number[first], number[second]))
            number.setdefault(first + second, len(number))
        return cls(bpe.codebooks, codebook_size, merges)

    def codes_to_tokens(self, codes: Codes) -> NDArray[np.int64]:
        """Tokens (n,) of codes (T, K). Raises TokensError for codes of another shape or out of range."""
        symbols = self._flat(as_array(codes, "codes", TokensError))
        if not len(symbols):
            return np.zeros(0, np.int64)
        return np.array(self._tokenizer.encode(_text(symbols)).ids, np.int64)

    def tokens_to_codes(self, tokens: Codes) -> NDArray[np.int64]:
        """Codes (T, K) of tokens (n,). Raises TokensError for tokens that are none, or that do not make whole frames."""
        tokens = as_array(tokens, "tokens", TokensError)
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise TokensError(f"tokens must be integers of shape (n,), not {tokens.dtype} {tokens.shape}")
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
            raise TokensError(f"tokens must be from 0 to {self.vocabulary - 1}, not {tokens.min()} to {tokens.max()}")
        symbols = np.array([s for token in tokens for s in self._symbols[token]], np.int64)
        if len(symbols) % self.codebooks:
            raise TokensError(f"{len(symbols)} codes are no whole frames of {self.codebooks}: tokens are missing")
        frames = symbols.reshape(-1, self.codebooks)
        codes: NDArray[np.int64] = frames - self.codebook_size * np.arange(self.codebooks)
        if codes.size and not (codes.min() >= 0 and codes.max() < self.codebook_size):
            raise TokensError("the tokens do not make frames: codes of the codebooks do not come in turn")
        return codes

    def token_codes(self, token: int) -> list[tuple[int, int]]:
        """The codes that a token stands for, each as (codebook, code)."""
        return [divmod(symbol, self.codebook_size) for symbol in self._symbols[token]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the merges as JSON (docs/bpe.md), whole or not at all. Raises FileError where that cannot be."""
        body = {"codebooks": self.codebooks, "codebook_size": self.codebook_size, "merges": [list(m) for m in self.merges]}
        text = json.dumps({"magic": MAGIC, "version": VERSION, "crc32": _crc(body)} | body, separators=(",", ":"))
        with atomic_output(path) as file:
            file.write(text.encode() + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CodeBpe:
        """Reads what `save` wrote. Raises FileError for a file that is missing, another one, damaged or newer."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError):
            raise FileError(f"{path}: holds no merges of codes (it is no JSON)") from None
        if not isinstance(found, dict) or found.get("magic") != MAGIC:
            raise FileError(f"{path}: holds no merges of codes (its magic is not {MAGIC})")
        if found.get("version") != VERSION:
            raise FileError(f"{path}: is of version {found.get('version')}, but this program reads {VERSION}; update mixcodec")
        try:
            body = {name: found[name] for name in ("codebooks", "codebook_size", "merges")}
            if _crc(body) != found["crc32"]:
                raise FileError(f"{path}: is damaged (its checksum is wrong)")
            return cls(body["codebooks"], body["codebook_size"], body["merges"])
        except (KeyError, TypeError, ValueError, TokensError):
            raise FileError(f"{path}: is damaged (its merges make no sense)") from None

    def _flat(self, codes: Codes) -> NDArray[np.int64]:
        """Symbols (T * K,) of codes (T, K)."""
        if codes.ndim != 2 or codes.shape[1] != self.codebooks or codes.dtype.kind not in "iu":
            raise TokensError(f"codes must be integers of shape (T, {self.codebooks}), not {codes.dtype} {codes.shape}")
        if codes.size and not 0 <= codes.min() <= codes.max() < self.codebook_size:
            raise TokensError(f"codes must be from 0 to {self.codebook_size - 1}, not {codes.min()} to {codes.max()}")
        symbols: NDArray[np.int64] = (codes.astype(np.int64) + self.codebook_size * np.arange(self.codebooks)).ravel()
        return symbols

    @cached_property
    def _tokenizer(self) -> Any:
        texts = [_text(np.array(symbols)) for symbols in self._symbols]
        library = _library()
        pairs = [(texts[a], texts[b]) for a, b in self.merges]
        return library.Tokenizer(library.models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=pairs))


def _library() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise MixcodecError("merging codes needs the package tokenizers: pip install 'mixcodec[bpe]'") from None
    return tokenizers


def _character(symbol: int) -> str:
    point = FIRST + symbol
    return chr(point if point < SURROGATES.start else point + len(SURROGATES))


def _symbol(character: str) -> int:
    point = ord(character)
    return (point if point < SURROGATES.start else point - len(SURROGATES)) - FIRST


def _text(symbols: NDArray[np.int64]) -> str:
    points = symbols + FIRST
    points = np.where(points < SURROGATES.start, points, points + len(SURROGATES))
    return points.astype("<u4").tobytes().decode("utf-32-le")


def _crc(body: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, separators=(",", ":"), sort_keys=True).encode())
