"""What processes that train together must agree on. Every process has to come here equally often, whatever it saw."""

import torch


def together() -> bool:
    """Whether there is more than this process."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def world() -> int:
    """How many processes there are."""
    return torch.distributed.get_world_size() if together() else 1


def sum_over_processes(*statistics: torch.Tensor) -> None:
    """Each tensor, in place, becomes its sum over all processes."""
    if together():
        for tensor in statistics:
            torch.distributed.all_reduce(tensor)


def take_from_first(tensor: torch.Tensor) -> None:
    """The tensor, in place, becomes that of the first process."""
    if together():
        torch.distributed.broadcast(tensor, 0)


def most_of_processes(statistics: torch.Tensor) -> None:
    """The tensor, in place, becomes its maximum over all processes."""
    if together():
        torch.distributed.all_reduce(statistics, torch.distributed.ReduceOp.MAX)
