"""Residual quantization: each codebook quantizes what the ones before it left."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F

from mixcodec.entropy import Tables
from mixcodec.errors import ConfigError
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.code_costs import CodeCosts
from mixcodec.nn.quantizers.lookup import Lookup
from mixcodec.nn.quantizers.search import ENTRIES, Aside
from mixcodec.registry import whole_number


def sum_of_entries(codes: torch.Tensor, tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum (..., C) over k of entry codes[..., k] of tables[k] (size, C), for codes (..., k) of the first tables.

    One lookup in all tables as one, for a graph in which the number of codebooks is open.
    """
    first = len(tables[0]) * torch.arange(codes.shape[-1], device=codes.device)
    return F.embedding(codes + first, torch.cat(list(tables))).sum(-2)


def chain_of_lookups(
    z: torch.Tensor, levels: Sequence[Lookup], known: list[torch.Tensor], asides: Callable[[list[torch.Tensor]], Aside | None]
) -> list[torch.Tensor]:
    """Codes, (..., 1) each, of z (..., C) by levels in a row, up to rounding: the form for a graph, in a third of the operators.

    What each level has to choose for is found for all of them at once, by one product. A level then takes out of what is left
    for those after it what its entry gives them, in their few dimensions instead of in C. `asides` says what counts against the
    entries of the next level when the codes before it are known: `known`, and those of the levels before.
    """
    enter = torch.cat([level.enter.weight for level in levels])  # (K * dim, C)
    bias = torch.cat([level.enter.bias for level in levels])
    edges = [0]
    for level in levels:
        edges.append(edges[-1] + level.dim)
        later = torch.cat([torch.zeros(edges[-1]), torch.ones(len(bias) - edges[-1])])
        bias = bias - later * (enter @ level.leave.bias)
    rest = z @ enter.T + bias
    codes: list[torch.Tensor] = []
    for level, begin, end in zip(levels, edges, edges[1:], strict=False):
        code, entry = level.choose_in_graph(rest[..., : end - begin], asides(known + codes))
        codes.append(code)
        if end < edges[-1]:
            rest = rest[..., end - begin :] - entry @ (enter[end:] @ level.leave.weight).T
    return codes


@QUANTIZERS.register("residual")
class Residual(Quantizer):
    """`codebooks` quantizers of one code each in a row, codes (B, T, K); the first k of them alone are a valid lower rate.

    Zeghidour et al., 2021, SoundStream: An End-to-End Neural Audio Codec. In training an item uses a random number of
    codebooks (quantizer dropout) if `active` says so, which is what makes one model serve every rate.

    With `thrift`, and once `learn_costs` knows the entropy tables, a code is chosen by its similarity to what is to be coded less
    `thrift` times the bits that it costs where the coarser codes of its frame are known (Chou, Lookabaugh and Gray, 1989,
    Entropy-Constrained Vector Quantization); a list has one number for each codebook. Training does without: it would make
    codebooks uneven, of which then less is used.
    """

    def __init__(
        self, channels: int, codebooks: int = 8, codebook: Mapping[str, Any] | None = None, thrift: float | Sequence[float] = 0.0
    ) -> None:
        super().__init__()
        whole_number("quantizer 'residual': codebooks", codebooks)
        config = {"kind": "vq"} | dict(codebook or {})
        levels = [QUANTIZERS.build(config, channels=channels) for _ in range(codebooks)]
        if levels[0].codebooks != 1:
            raise ConfigError(f"quantizer 'residual': a level must give one code, not {config['kind']!r}")
        self.levels = cast(Sequence[Quantizer], torch.nn.ModuleList(levels))
        self.codebooks, self.size = codebooks, levels[0].size
        self._add_costs(thrift)

    @property
    def chain(self) -> Sequence[Quantizer]:
        """What gives the codes, in their order."""
        return self.levels

    def _add_costs(self, thrift: float | Sequence[float]) -> None:
        books = len(self.chain)
        self.thrift: list[Any] = list(thrift) if isinstance(thrift, list | tuple) else [thrift] * books
        good = [not isinstance(one, bool) and isinstance(one, int | float) and 0 <= one < 1 for one in self.thrift]
        if not all(good) or len(good) != books:
            rule = f"must be a number from 0 to below 1, or {books} of them"
            raise ConfigError(f"the thrift of a residual quantizer is {thrift!r}, but {rule}")
        if any(self.thrift) and not all(isinstance(level, Lookup) for level in self.chain):
            raise ConfigError("the thrift of a residual quantizer needs codebooks that are searched, such as 'vq'")
        costs = [CodeCosts(book, books, self.size) for book in range(books if any(self.thrift) else 0)]
        self.costs = cast(Sequence[CodeCosts], torch.nn.ModuleList(costs))

    def learn_costs(self, tables: Tables) -> None:
        """Takes over from entropy tables what codes cost; without `thrift` nothing. Codes are other ones from then on."""
        for costs, book in zip(self.costs, tables.books, strict=False):
            costs.learn(book)

    def forget_costs(self) -> None:
        """Codes are chosen by nearness alone again, until costs are learned anew."""
        for costs in self.costs:
            costs.rows.zero_()

    def _codes(self, z: torch.Tensor, levels: Sequence[Quantizer], known: list[torch.Tensor]) -> list[torch.Tensor]:
        """Codes, (..., 1) each, of z (..., C) by levels of which each quantizes what those before left; `known` come first."""

        def aside(codes: list[torch.Tensor]) -> Aside | None:
            if not self.costs:
                return None
            costs = self.costs[len(codes)]
            return costs.features(codes, z), self.thrift[len(codes)] * costs.rows

        if torch.compiler.is_compiling() and all(isinstance(v, Lookup) and v.size <= ENTRIES for v in levels):
            return chain_of_lookups(z, cast(Sequence[Lookup], levels), known, aside)
        codes: list[torch.Tensor] = []
        for level in levels:
            if self.costs:
                codes.append(cast(Lookup, level).codes_aside(z, aside(known + codes)))
            else:
                codes.append(level.vectors_to_codes(z))
            z = z - level.codes_to_vectors(codes[-1])
        return codes

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None) -> Quantized:
        if active is None:
            active = torch.full((len(z),), self.codebooks, device=z.device)
        rest, vectors, codes, losses, usage = z.float(), torch.zeros_like(z, dtype=torch.float32), [], [], []
        for k, level in enumerate(self.levels):
            quantized = level(rest, (active > k).long())
            rest, vectors = rest - quantized.vectors, vectors + quantized.vectors
            codes.append(quantized.codes)
            losses.append(quantized.loss)
            usage.append(quantized.usage)
        return Quantized(torch.cat(codes, -1), vectors, torch.stack(losses).mean(), torch.cat(usage))

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._codes(z, self.levels, []), -1)

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        every = torch.arange(self.size, device=codes.device)[:, None]
        return sum_of_entries(codes, [level.codes_to_vectors(every) for level in self.levels])

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        for level in self.levels:
            level.start(z)
            z = z - level.codes_to_vectors(level.vectors_to_codes(z))
