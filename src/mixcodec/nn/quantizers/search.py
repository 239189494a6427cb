"""Nearest entries of a codebook, and k-means by them."""

import torch
import torch.nn.functional as F

METRICS = ("cosine", "euclidean")
ENTRIES = 8192  # a block of the search is at most so many entries
SCORES = 1 << 20  # by so many points that it holds 4 MiB of scores, which stay in a processor's cache
WHOLE = 1 << 22  # as many scores as this are found in one go


def nearest_entries(x: torch.Tensor, entries: torch.Tensor, metric: str, cost: torch.Tensor | None = None) -> torch.Tensor:
    """Index (...,) of the entry (of (size, D)) nearest to each x (..., D); the lowest index of equals.

    `metric` is one of METRICS, or "product" for the entry that has the greatest product with x. `cost` (size,), if given, is
    taken away from each entry's similarity to x: their product, less half the entry's square where the metric is euclidean.

    Of many entries and points the scores are never all in memory: block after block, each point keeps its best so far.
    """
    if metric == "cosine":
        entries = F.normalize(entries, dim=-1)
    offset = _offset(entries, metric, cost)
    traced = torch.compiler.is_compiling()  # then the number of points is open, and only entries go in blocks
    if traced and len(entries) <= ENTRIES:
        return _best_in_graph(x, entries, offset, torch.ones_like(x[..., :1])).squeeze(-1)
    if len(entries) <= ENTRIES and x.numel() // x.shape[-1] * len(entries) <= WHOLE:
        return _scores(x, entries, offset).argmax(-1)
    if traced:
        return _best_of_blocks(x, entries, offset)
    rows = x.reshape(-1, x.shape[-1])
    step = max(1, SCORES // min(len(entries), ENTRIES))
    return torch.cat([_best_of_blocks(r, entries, offset) for r in rows.split(step)]).view(x.shape[:-1])


def _scores(x: torch.Tensor, entries: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    """(..., size): the higher, the nearer."""
    return x @ entries.T if offset is None else x @ entries.T - offset


def nearest_in_graph(y: torch.Tensor, entries: torch.Tensor, metric: str, cost: torch.Tensor | None) -> torch.Tensor:
    """The same index (..., 1) for an exported graph, of at most ENTRIES entries, which with cosine have unit length.

    Of y (..., D) that direction alone counts with cosine, so it keeps its length, and the cost is multiplied by it instead.
    """
    length = y.norm(dim=-1, keepdim=True) if metric == "cosine" else torch.ones_like(y[..., :1])
    return _best_in_graph(y, entries, _offset(entries, metric, cost), length)


def _offset(entries: torch.Tensor, metric: str, cost: torch.Tensor | None) -> torch.Tensor | None:
    """What is taken away from a product with each entry (size,)."""
    return 0.5 * entries.square().sum(-1) + (0 if cost is None else cost) if metric == "euclidean" else cost


def _best_in_graph(x: torch.Tensor, entries: torch.Tensor, offset: torch.Tensor | None, last: torch.Tensor) -> torch.Tensor:
    """As onnxruntime finds it fastest, (..., 1): the offset times `last` (..., 1) is one more channel of the product, which saves
    a pass over the scores, and its search for the one greatest takes half the time of its argmax.
    """
    if offset is not None:
        x, entries = torch.cat([x, last], -1), torch.cat([entries, -offset[:, None]], 1)
    return (x @ entries.T).topk(1).indices


def _best_of_blocks(x: torch.Tensor, entries: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    best = index = None
    for first in range(0, len(entries), ENTRIES):
        block = slice(first, first + ENTRIES)
        high, where = _scores(x, entries[block], None if offset is None else offset[block]).max(-1)
        if best is None or index is None:
            best, index = high, where
        else:
            index = torch.where(high > best, where + first, index)
            best = torch.maximum(high, best)
    if index is None:
        raise ValueError("a codebook without entries")
    return index


def k_means(x: torch.Tensor, size: int, metric: str, rounds: int = 10) -> torch.Tensor:
    """Centres (size, D) of points (M, D), by Lloyd's rounds from random points; an empty centre moves to a random point.

    With `metric` cosine points and centres have unit length.
    """
    centres = x[torch.randint(len(x), (size,))] if len(x) < size else x[torch.randperm(len(x))[:size]]
    for _ in range(rounds):
        member = nearest_entries(x, centres, metric)
        count = torch.bincount(member, minlength=size)
        total = torch.zeros_like(centres).index_add_(0, member, x)
        spare = x[torch.randint(len(x), (size,))]
        centres = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], spare)
        centres = F.normalize(centres, dim=-1) if metric == "cosine" else centres
    return centres
