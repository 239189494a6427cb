"""How a codec uses its codebooks: share in use, perplexity, entropy; and what its files really spend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixcodec.evaluate.results import CodebookUse


def codebook_use(point: str, clips: Sequence[NDArray[np.int64]], size: int, payload_bytes: int) -> list[CodebookUse]:
    """One entry for each codebook, over the codes (T, K) of all clips of an operating point.

    The entropies are those of the counts (Shannon, 1948), in bits, without a correction for how few they are: the conditional
    one, of a code given the one before it in the same clip and codebook, is biased low where size squared exceeds the codes.
    """
    frames = np.concatenate(clips)
    codes = frames.size
    found = []
    for k in range(frames.shape[1]):
        counts = np.bincount(frames[:, k], minlength=size)
        entropy = entropy_bits(counts)
        pairs = np.concatenate([clip[:-1, k] * size + clip[1:, k] for clip in clips])
        firsts = np.concatenate([clip[:-1, k] for clip in clips])
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
