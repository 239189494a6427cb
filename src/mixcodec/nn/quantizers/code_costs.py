"""What codes cost in the file, as the choice of codes can know it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from mixcodec.entropy.learn import sources
from mixcodec.entropy.tables import BASE_STEPS, STEPS, BookTables


class CodeCosts(torch.nn.Module):
    """The bits of each code of codebook `book`, up to a constant, where the coarser codes of its frame are known.

    They are the exponents of the entropy tables, which are sums: of a base and of a row for the class of each earlier code. Of
    the codes of the frame before, which the tables know too, nothing is asked, so that a frame's codes depend on it alone.
    Zeros until `learn` is told the tables.
    """

    def __init__(self, book: int, books: int, size: int) -> None:
        super().__init__()
        self.sources = [source for source in sources(book, books) if source.back == 0]
        self.register_buffer("rows", torch.zeros(1 + sum(source.classes for source in self.sources), size))
        self.register_buffer("classes", torch.zeros(len(self.sources), size, dtype=torch.int64))
        self.rows: torch.Tensor
        self.classes: torch.Tensor

    def features(self, codes: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
        """What is known by coarser codes, (..., 1) each, as numbers (..., n) whose product with `rows` (n, size) is the cost.

        The numbers are as many as `like` (..., C) has vectors, and of its type.
        """
        known = [torch.ones_like(like[..., :1])]
        for source, classes in zip(self.sources, self.classes, strict=True):
            member = F.one_hot(classes, source.classes).to(like.dtype)
            known.append(F.embedding(codes[source.book].squeeze(-1), member))
        return torch.cat(known, -1)

    @torch.no_grad()
    def learn(self, tables: BookTables) -> None:
        """Takes over the exponents of a codebook's tables; of a context that is not there, zeros stay."""
        self.rows.zero_()
        self.rows[0] = torch.from_numpy(tables.base / BASE_STEPS)
        first = 1
        for source, classes in zip(self.sources, self.classes, strict=True):
            for context in tables.contexts:
                if (context.back, context.book) == (source.back, source.book):
                    factors = torch.from_numpy(context.factors() / STEPS)
                    self.rows[first : first + len(factors)] = -factors.to(self.rows)
                    classes.copy_(torch.from_numpy(context.classes[:-1].astype("int64")))
            first += source.classes
