"""A codebook in the order of a tree."""

import itertools

import pytest
import torch

from mixcodec.nn.quantizers import Reduced
from mixcodec.nn.quantizers.reduced import balanced_tree
from mixcodec.nn.quantizers.search import k_means, nearest_entries

CHANNELS = 8


@pytest.fixture(scope="module")
def started():
    torch.manual_seed(0)
    quantizer = Reduced(CHANNELS, 4, {"size": 256, "dim": 4, "metric": "euclidean"})
    z = torch.randn(6000, CHANNELS) @ torch.diag(torch.linspace(2, 0.3, CHANNELS))
    quantizer.start(z)
    return quantizer.eval(), z


def test_all_digits_are_the_code_of_the_nearest_entry(started):
    quantizer, z = started
    code = nearest_entries(quantizer.codebook._inside(z), quantizer.codebook.table(), "euclidean")
    digits = quantizer.vectors_to_codes(z)
    assert digits.shape == (6000, 4)
    assert digits.max() == 3
    number = (digits * torch.tensor([64, 16, 4, 1])).sum(-1)
    assert torch.equal(quantizer.order[number], code)
    torch.testing.assert_close(quantizer.codes_to_vectors(digits), quantizer.codebook.codes_to_vectors(code[:, None]))


def test_fewer_digits_are_the_mean_of_the_entries_that_begin_with_them(started):
    quantizer, _ = started
    table, count = quantizer.codebook.table(), quantizer.codebook.count
    every = torch.tensor(list(itertools.product(range(4), repeat=4)))
    entry = quantizer.order[(every * torch.tensor([64, 16, 4, 1])).sum(-1)]
    for k in (1, 2, 3):
        for start in itertools.islice(itertools.product(range(4), repeat=k), 20):
            own = entry[(every[:, :k] == torch.tensor(start)).all(-1)]
            assert len(own) == 4 ** (4 - k)
            mean = (table[own] * count[own, None]).sum(0) / count[own].sum()
            vector = quantizer.codes_to_vectors(torch.tensor([start]))[0]
            torch.testing.assert_close(vector, quantizer.codebook.leave(mean))


def test_the_smaller_codebooks_are_nearly_as_good_as_k_means_and_better_than_any_order(started):
    quantizer, z = started
    x, table = quantizer.codebook._inside(z), quantizer.codebook.table()
    for k in (1, 2):
        small = quantizer.entries(k)
        number = (quantizer.vectors_to_codes(z)[:, :k] * torch.tensor([4, 1][-k:])).sum(-1)
        nested = (small[number] - x).square().mean()
        centres = k_means(table, 4**k, "euclidean", 30)
        code = nearest_entries(x, table, "euclidean")
        free = (centres[nearest_entries(table, centres, "euclidean")[code]] - x).square().mean()
        shuffled = table[torch.randperm(256)].view(4**k, -1, 4).mean(1)
        chance = (shuffled[torch.randint(4**k, (len(x),))] - x).square().mean()
        assert nested < 1.25 * free
        assert nested < 0.7 * chance


def test_a_tree_finds_clusters_of_clusters():
    top = torch.tensor([[-9.0, 0.0], [9.0, 0.0]])
    points = (top[:, None] + torch.tensor([[0.0, -2.0], [0.0, 2.0]])).flatten(0, 1)[:, None] + 0.1 * torch.randn(4, 8, 2)
    shuffle = torch.randperm(32)
    order = shuffle[balanced_tree(points.flatten(0, 1)[shuffle], torch.ones(32))]
    for leaves in (8, 16):
        assert all(len(set((part // leaves).tolist())) == 1 for part in order.split(leaves))


def test_entries_that_learn_on_keep_their_digits(started):
    quantizer, z = started
    digits = quantizer.vectors_to_codes(z)
    quantizer.codebook.entries.mul_(1.01)
    assert (quantizer.vectors_to_codes(1.01 * z) == digits).float().mean() > 0.8
    assert torch.equal(quantizer.order[quantizer.rank], torch.arange(256))
    quantizer.codebook.entries.div_(1.01)
