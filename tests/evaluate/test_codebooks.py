import numpy as np
import pytest
from scipy.stats import entropy

from mixcodec.evaluate.codebooks import codebook_use, entropy_bits


def test_against_scipy_and_by_hand():
    counts = np.array([5, 0, 3, 8])
    assert entropy_bits(counts) == pytest.approx(entropy(counts, base=2))
    assert entropy_bits(np.zeros(4, np.int64)) == 0


def test_use_of_codebooks():
    """Codebook 1 alternates between two codes, so each is certain after the one before; codebook 2 is constant."""
    clips = [np.stack([np.arange(100) % 2, np.full(100, 3)], axis=1) for _ in range(2)]
    first, second = codebook_use("p@1", clips, 4, payload_bytes=50)
    assert (first.codebook, first.used, first.entropy_bits, first.perplexity) == (1, 0.5, 1.0, 2.0)
    assert first.conditional_bits == pytest.approx(0, abs=1e-9)
    assert (second.used, second.entropy_bits, second.perplexity) == (0.25, 0.0, 1.0)
    assert first.file_bits == second.file_bits == 400 / 400


def test_codes_of_different_clips_are_no_neighbours():
    clips = [np.array([[0], [0]]), np.array([[1], [1]])]
    assert codebook_use("p", clips, 2, 1)[0].conditional_bits == 0
