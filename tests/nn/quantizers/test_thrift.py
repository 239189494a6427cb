"""Residual codebooks that know what their codes cost."""

import numpy as np
import pytest
import torch

from mixcodec.entropy.learn import learn_tables
from mixcodec.entropy.learned import ContextTables
from mixcodec.errors import ConfigError
from mixcodec.evaluate.entropy import book_bits
from mixcodec.nn.quantizers import QUANTIZERS

SIZE, BOOKS = 32, 4
RESIDUAL = {"kind": "residual", "codebooks": BOOKS, "codebook": {"kind": "vq", "size": SIZE, "dim": 4}}
KINDS = {
    "residual": RESIDUAL,
    "euclidean": RESIDUAL | {"codebook": {"kind": "vq", "size": SIZE, "dim": 4, "metric": "euclidean"}},
    "simvq": RESIDUAL | {"codebook": {"kind": "simvq", "size": SIZE, "dim": 4}},
    "taught": RESIDUAL | {"kind": "semantic_split", "parallel": False},
    "parallel": RESIDUAL | {"kind": "semantic_split"},
}


def latents(frames: int) -> torch.Tensor:
    """Clusters of uneven weight, so that some codes are dearer than others, (frames, 8)."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(40, 8, generator=generator)
    which = torch.multinomial(torch.arange(1.0, 41.0) ** 2, frames, replacement=True, generator=generator)
    return centres[which] + 0.4 * torch.randn(frames, 8, generator=generator)


def fitted(config: dict[str, object], thrift: float | list[float]):
    torch.manual_seed(0)
    quantizer = QUANTIZERS.build(config | {"thrift": thrift}, channels=8).eval()
    quantizer.start(latents(4000))
    return quantizer


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_of_least_distance_and_bits(kind: str) -> None:
    """The oracle goes frame by frame and code by code, with bits from the tables' own logarithms."""
    thrift, z = [0.0, 0.2, 0.3, 0.1], latents(300)
    quantizer = fitted(KINDS[kind], thrift)
    tables = learn_tables([quantizer.vectors_to_codes(latents(4000)).numpy()], SIZE)
    nearest = quantizer.vectors_to_codes(z)
    quantizer.learn_costs(tables)
    codes = quantizer.vectors_to_codes(z)
    quantizer.forget_costs()
    assert torch.equal(quantizer.vectors_to_codes(z), nearest)
    assert not torch.equal(codes, nearest)
    for frame in range(0, 300, 30):
        rest, known = z[frame], []
        for book, level in enumerate(quantizer.chain):
            if kind == "parallel" and book == 1:
                rest = quantizer.beside(z[frame])
            bits = tables.books[book].base / 16
            for context in tables.books[book].contexts:
                if context.back == 0:
                    bits = bits - context.factors()[context.classes[known[context.book]]] / 64
            x, entries = level._inside(rest).detach().numpy(), level.table().detach().numpy()
            score = entries @ x - (0.5 * (entries**2).sum(1) if level.metric == "euclidean" else 0) - thrift[book] * bits
            best = int(codes[frame, book])
            assert score[best] >= score.max() - 1e-4
            known.append(best)
            rest = rest - level.codes_to_vectors(torch.tensor([best]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_chooses_alike(kind: str) -> None:
    quantizer = fitted(KINDS[kind], 0.1)
    quantizer.learn_costs(learn_tables([quantizer.vectors_to_codes(latents(4000)).numpy()], SIZE))
    z = latents(64)[None]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantizer = quantizer

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.quantizer.vectors_to_codes(z)

    exported = torch.export.export(Graph(), (z,)).module()
    assert torch.equal(exported(z), quantizer.vectors_to_codes(z))


def test_bits_fall_by_more_than_the_error_grows() -> None:
    """At fewer bits than without thrift, the error is less than that of leaving out a codebook for as many bits."""

    def measured(thrift: float) -> tuple[float, list[float]]:
        quantizer = fitted(RESIDUAL, thrift)
        if thrift:
            quantizer.learn_costs(learn_tables([quantizer.vectors_to_codes(latents(8000)).numpy()], SIZE))
        codes = quantizer.vectors_to_codes(latents(8000))
        model = ContextTables(learn_tables([codes.numpy()], SIZE))
        bits = float(np.sum(book_bits(model, [codes.numpy()[None]])))
        errors = [float((quantizer.codes_to_vectors(codes[:, :k]) - latents(8000)).square().mean()) for k in (BOOKS - 1, BOOKS)]
        return bits, errors

    (plain, (fewer, whole)), (thrifty, (_, error)) = measured(0.0), measured(0.02)
    saved = (plain - thrifty) / plain
    assert saved > 0.02
    assert error - whole < saved * BOOKS * (fewer - whole)


def test_without_costs_learned_nothing_changes() -> None:
    z = latents(500)
    assert torch.equal(fitted(RESIDUAL, 0.5).vectors_to_codes(z), fitted(RESIDUAL, 0.0).vectors_to_codes(z))


@pytest.mark.parametrize("thrift", [-0.1, 1.0, True, "much", [0.1, 0.1], [0.1, 0.1, 0.1, 2]])
def test_refuses(thrift: object) -> None:
    with pytest.raises(ConfigError, match="thrift"):
        QUANTIZERS.build(RESIDUAL | {"thrift": thrift}, channels=8)
    with pytest.raises(ConfigError, match="searched"):
        QUANTIZERS.build({"kind": "residual", "codebooks": 2, "codebook": {"kind": "fsq"}, "thrift": 0.1}, channels=8)
