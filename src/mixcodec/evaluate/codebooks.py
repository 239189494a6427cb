"""How a codec uses its codebooks: share in use, perplexity, entropy; and what its files really spend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixcodec.evaluate.results import CodebookUse
from mixcodec.tokens import ABSENT


def codebook_use(point: str, clips: Sequence[NDArray[np.int64]], size: int, payload_bytes: int) -> list[CodebookUse]:
    """One entry for each codebook, over the codes (T, K) of all clips of an operating point; frames may have fewer than K.

    The entropies are those of the counts (Shannon, 1948), in bits, without a correction for how few they are: the conditional
    one, of a code given the one before it in the same clip and codebook, is biased low where size squared exceeds the codes.
    """
    books = max(clip.shape[1] for clip in clips)
    codes = sum(int((clip != ABSENT).sum()) for clip in clips)
    found = []
    for k in range(books):
        columns = [clip[clip[:, k] != ABSENT, k] for clip in clips if clip.shape[1] > k]
        counts = np.bincount(np.concatenate(columns), minlength=size)
        if not counts.any():  # at a low rate no frame may have so many codes
            continue
        entropy = entropy_bits(counts)
        pairs = np.concatenate([column[:-1] * size + column[1:] for column in columns])
        firsts = np.concatenate([column[:-1] for column in columns])
        joint = entropy_bits(np.unique(pairs, return_counts=True)[1])
        conditional = joint - entropy_bits(np.bincount(firsts, minlength=size))
        found.append(
            CodebookUse(
                point=point,
                codebook=k + 1,
                size=size,
                used=float((counts > 0).mean()),
                perplexity=float(2**entropy),
                entropy_bits=entropy,
                conditional_bits=max(0.0, conditional),
                file_bits=8 * payload_bytes / codes,
            )
        )
    return found


def entropy_bits(counts: NDArray[np.int64]) -> float:
    """Shannon entropy of the shares of `counts`, in bits; 0 where there are none."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum()) + 0.0
