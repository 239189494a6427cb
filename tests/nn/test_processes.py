"""What processes that train together agree on, beside the same in one process that has what all of them have."""

import datetime

import pytest
import torch

from mixcodec.nn.processes import drawn_from_all, mean_over_processes

COUNT = 50


def seen():
    """Vectors of two processes, and which of them count: in the first call of each, in the second of one, in the third none."""
    random = torch.Generator().manual_seed(3)
    parts = [torch.randn(n, 4, generator=random) for n in (7, 12)]
    some = [torch.rand(len(part), generator=random) < 0.6 for part in parts]
    return parts, (
        some,
        [torch.zeros(7, dtype=torch.bool), some[1]],
        [torch.zeros(len(part), dtype=torch.bool) for part in parts],
    )


def _in_process(rank, path):
    limit = datetime.timedelta(seconds=120)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2, timeout=limit)
    parts, cases = seen()
    torch.manual_seed(5 + rank)  # the first one's draws count
    drawn = [drawn_from_all(parts[rank], case[rank], COUNT) for case in cases]
    torch.save((drawn, mean_over_processes(parts[rank].sum(0))), f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(_in_process, (str(path),), nprocs=2)
    return [torch.load(path / f"{rank}.pt") for rank in range(2)]


def test_vectors_are_drawn_from_those_of_all(found):
    parts, cases = seen()
    torch.manual_seed(5)
    for number, case in enumerate(cases):
        wanted = drawn_from_all(torch.cat(parts), torch.cat(case), COUNT)
        for drawn, _ in found:
            assert (wanted is None) == (drawn[number] is None) == (number == 2)
            assert wanted is None or torch.equal(drawn[number], wanted)
    both = {tuple(row) for row in found[0][0][0].tolist()}
    assert all(both & {tuple(row) for row in part.tolist()} for part in parts)


def test_the_mean_is_that_over_processes(found):
    parts, _ = seen()
    for _, mean in found:
        torch.testing.assert_close(mean, torch.cat(parts).sum(0) / 2)
    assert mean_over_processes(parts[0]) is parts[0]
