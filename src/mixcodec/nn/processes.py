"""What processes that train together must agree on. Every process has to come here equally often, whatever it saw."""

import torch
import torch.distributed as dist


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def together() -> bool:
    """Whether there is more than this process."""
    return world() > 1


def sum_over_processes(*statistics: torch.Tensor) -> None:
    """Each tensor, in place, becomes its sum over all processes."""
    if together():
        for tensor in statistics:
            dist.all_reduce(tensor)


def mean_over_processes(statistic: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor that needs no gradient over all processes.

    A loss that is a sum over what its process saw, divided by this mean of such a sum, has as its own mean over the processes
    the quotient of the sums over all that they saw: what one process would find that sees everything.
    """
    return _mean_of_all(statistic) if together() else statistic


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _mean_of_all(statistic: torch.Tensor) -> torch.Tensor:
    mean = statistic.detach().float().clone()
    dist.all_reduce(mean)
    return mean / world()


def drawn_from_all(x: torch.Tensor, kept: torch.Tensor, count: int) -> torch.Tensor | None:
    """`count` of the vectors x (M, D) that `kept` (M,) marks in any process, drawn as if all were in one; None if there are none.

    The draws are those of the first process.
    """
    x, device = x[kept], x.device
    if not together():
        return x[torch.randint(len(x), (count,), device=device)] if len(x) else None
    sizes = torch.zeros(world(), dtype=torch.int64, device=device)
    sizes[dist.get_rank()] = len(x)
    dist.all_reduce(sizes)
    if not int(sizes.sum()):
        return None
    index = torch.randint(int(sizes.sum()), (count,), device=device)
    dist.broadcast(index, 0)
    index -= sizes[: dist.get_rank()].sum()
    own = (index >= 0) & (index < len(x))
    rows = x.new_zeros(count, x.shape[1])
    rows[own] = x[index[own]]
    dist.all_reduce(rows)
    return rows


def most_of_processes(statistics: torch.Tensor) -> None:
    """The tensor, in place, becomes its maximum over all processes."""
    if together():
        dist.all_reduce(statistics, dist.ReduceOp.MAX)
