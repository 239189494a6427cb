"""The one scan of all recurrences: h_t = exp(log_decay_t) * h_(t-1) + value_t, with numbers, matrices or a fixed matrix.

All forms take the state before the block and give the one after it, compute in float32 (or float64, where that comes in)
and do a block in chunks: all chunks side by side, from chunk to chunk by the same scan over the chunks' ends. So the
cost is linear in the length and the depth logarithmic. Decays are given as logarithms, at most zero: then nothing overflows.

An exported graph has no loop over a length that it doesn't know. There the ends of all chunks are done at once, quadratic
in their number (a fixed matrix: in the number of tokens); streamed blocks have few.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

CHUNK = 16  # tokens done in parallel
SERIAL = 64  # tokens of a scan over numbers done one after the other, all chunks side by side
WIDE = 64  # the same, for matrices with one decay a head
MOST_BITS = 16  # an exported fixed scan takes blocks of fewer than 2^16 tokens
LOWEST = -5.0  # least log decay where each row of a matrix has its own: two halves of a chunk then stay within float32


def wide(x: torch.Tensor) -> torch.Tensor:
    """x as float32, or float64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def _exporting() -> bool:
    return torch.compiler.is_exporting()


def _chunks(x: torch.Tensor, size: int) -> torch.Tensor:
    """(B, T, ...) -> (B, N, size, ...), zeros after the end."""
    count = (x.shape[1] + size - 1) // size
    if _exporting() or x.shape[1] % size:
        x = torch.cat([x, x.new_zeros(x.shape[0], size, *x.shape[2:])], 1)  # one chunk too many, so never nothing
        x = x[:, : count * size]
    return x.reshape(x.shape[0], count, size, *x.shape[2:])


def _chunk_size(length: int, most: int) -> int:
    return most if _exporting() else min(length, most)


def _later(x: torch.Tensor, by: int, first: float) -> torch.Tensor:
    """x (B, N, Q, ...) moved `by` places later in its chunk, `first` before it."""
    return torch.cat([torch.full_like(x[:, :, :by], first), x[:, :, :-by]], 2)


def scan(log_decay: torch.Tensor, value: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All states (B, T, *D), and the last, of h_t = exp(log_decay_t) * h_(t-1) + value_t after `start` (B, *D).

    log_decay (B, T, *D), any of D may be 1; value (B, T, *D).
    """
    if _exporting():
        return _exported_scan(log_decay, value, start)
    decay, value, start = wide(log_decay), wide(value), start.to(wide(value).dtype)
    length = value.shape[1]
    if length <= SERIAL:
        states = torch.stack(list(_one_by_one(decay.exp().unbind(1), value.unbind(1), start)), 1)
        return states, states[:, -1]
    decay, value = _chunks(decay, SERIAL), _chunks(value, SERIAL)
    total, decays, values = decay.sum(2), decay.exp().unbind(2), value.unbind(2)
    for end in _one_by_one(decays[1:], values[1:], values[0]):  # of each chunk alone, from zero
        ends = end
    ends = scan(total, ends, start)[0]
    starts = torch.cat([start[:, None], ends[:, :-1]], 1)
    states = torch.stack(list(_one_by_one(decays, values, starts)), 2).flatten(1, 2)[:, :length]
    return states, states[:, -1]


def _one_by_one(decays: Sequence[torch.Tensor], values: Sequence[torch.Tensor], state: torch.Tensor) -> Iterator[torch.Tensor]:
    """The states after each of the values: two operations a number, which nothing else needs as few of."""
    for decay, value in zip(decays, values, strict=True):
        state = torch.addcmul(value, decay, state)
        yield state


def _exported_scan(log_decay: torch.Tensor, value: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same without a loop over the length: doubling within chunks, all their ends at once."""
    length = value.shape[1]
    decay, states = _chunks(wide(log_decay), CHUNK), _chunks(wide(value), CHUNK)
    total = decay.sum(2)
    decay = decay.exp()
    by = 1
    while by < CHUNK:  # place t holds the state after up to 2 by tokens, and their decay
        states = states + decay * _later(states, by, 0)
        decay = decay * _later(decay, by, 1)
        by *= 2
    starts = start.to(states.dtype)[:, None]
    ends = _all_at_once(total, states[:, :, -1], starts)
    starts = torch.cat([starts, ends[:, :-1]], 1)
    states = (states + decay * starts[:, :, None]).flatten(1, 2)[:, :length]
    return states, states[:, -1]


def _all_at_once(log_decay: torch.Tensor, value: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The same states, every one as a sum over all values before it: quadratic, without a loop."""
    sums = log_decay.cumsum(1)
    place = torch.arange(value.shape[1], device=value.device)
    past = (place[:, None] >= place[None, :]).to(sums.dtype)
    past = past.reshape(1, *past.shape, *[1] * (sums.ndim - 2))
    weight = ((sums[:, :, None] - sums[:, None]) * past).exp() * past
    return (weight * value[:, None]).sum(2) + sums.exp() * start


def matrix_scan(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, log_decay: torch.Tensor, start: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs y_t = q_t S_t (B, T, H, V), and the last state, of S_t = diag(exp(log_decay_t)) S_(t-1) + k_t v_t^T.

    query, key (B, T, H, K); value (B, T, H, V); start (B, H, K, V). log_decay is (B, T, H, 1), one number a head, or
    (B, T, H, K), one a row, and then at least LOWEST.
    """
    rows = log_decay.shape[-1] > 1
    length = value.shape[1]
    size = _chunk_size(length, CHUNK if rows else WIDE)
    q, k, v, decay = (_chunks(wide(x), size).transpose(2, 3) for x in (query, key, value, log_decay))  # (B, N, H, Q, ..)
    sums = decay.cumsum(3)
    past = torch.ones(size, size, dtype=sums.dtype, device=sums.device).tril()
    if rows:
        middle = sums[..., size // 2 : size // 2 + 1, :]
        scores = (q * (sums - middle).exp()) @ (k * (middle - sums).exp()).transpose(-1, -2) * past
    else:
        scores = (q @ k.transpose(-1, -2)) * ((sums - sums.transpose(-1, -2)) * past).exp() * past
    total = sums[..., -1:, :]
    added = (k * (total - sums).exp()).transpose(-1, -2) @ v  # what a chunk adds to the state, (B, N, H, K, V)
    total, begin = total.transpose(-1, -2), start.to(added.dtype)[:, None]
    ends = _all_at_once(total, added, begin) if _exporting() else scan(total, added, start)[0]
    starts = torch.cat([begin, ends[:, :-1]], 1)
    y = scores @ v + (q * sums.exp()) @ starts
    return y.transpose(2, 3).flatten(1, 2)[:, :length], ends[:, -1]


def both_ways(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, log_decay: torch.Tensor) -> torch.Tensor:
    """`matrix_scan` from each end, added, a token's own part counted once: (B, T, H, V).

    So y_t = sum_s q_t . (k_s times the decays at s + 1 .. t, or at t .. s - 1 where s is later) v_s.
    """
    start = value.new_zeros(value.shape[0], *value.shape[2:3], key.shape[-1], value.shape[-1])
    ahead = matrix_scan(query, key, value, log_decay, start)[0]
    back = matrix_scan(query.flip(1), key.flip(1), value.flip(1), log_decay.flip(1), start)[0].flip(1)
    return ahead + back - (wide(query) * wide(key)).sum(-1, keepdim=True) * wide(value)


def decay_matrix(log_decay: torch.Tensor) -> torch.Tensor:
    """(B, T, ...) -> (B, T, T, ...): what is left at t of a value at s, zero for s > t; the recurrence as one matrix."""
    sums = wide(log_decay).cumsum(1)
    past = torch.ones(sums.shape[1], sums.shape[1], dtype=sums.dtype, device=sums.device).tril()
    past = past.reshape(1, *past.shape, *[1] * (sums.ndim - 2))
    return ((sums[:, :, None] - sums[:, None]) * past).exp() * past


def fixed_scan(matrix: torch.Tensor, value: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All states (B, T, ..., D), and the last, of h_t = matrix h_(t-1) + value_t after `start` (B, ..., D)."""
    if _exporting():
        return _fixed_at_once(matrix, value, start)
    length = value.shape[1]
    size = _chunk_size(length, CHUNK)
    states, total = _chunks(value, size).to(matrix.dtype), matrix
    by = 1
    while by < size:
        states = states + F.linear(_later(states, by, 0), total)
        total = total @ total
        by *= 2
    powers = [matrix]
    while len(powers) < size:
        powers.append(powers[-1] @ matrix)
    starts = start.to(matrix.dtype)[:, None]
    if states.shape[1] > 1:
        ends = fixed_scan(powers[-1], states[:, :, -1], start)[0]
        starts = torch.cat([starts, ends[:, :-1]], 1)
    flat = torch.cat(powers, 0)  # (Q * D, D): all powers at once
    carried = F.linear(starts, flat).unflatten(-1, (size, -1)).movedim(-2, 2)
    states = (states + carried).flatten(1, 2)[:, :length]
    return states, states[:, -1]


def _fixed_at_once(matrix: torch.Tensor, value: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by one large matrix: quadratic in the length, without a loop over it."""
    length, order = value.shape[1], len(matrix)
    value = torch.cat([start.to(matrix.dtype)[:, None], value.to(matrix.dtype)], 1)  # place 0 is the state before
    place = torch.arange(length + 1, device=value.device)
    powers, step = torch.eye(order, dtype=matrix.dtype, device=matrix.device), matrix
    for bit in range(MOST_BITS):  # matrix^place by the binary digits of place
        digit = (place // 2**bit % 2).to(matrix.dtype)[:, None, None]
        powers = powers + digit * (F.linear(powers, step.mT) - powers)
        step = step @ step
    gap = place[:, None] - place[None, :]
    weight = powers[gap.clamp(min=0)] * (gap >= 0).to(matrix.dtype)[..., None, None]
    weight = weight.transpose(1, 2).reshape((length + 1) * order, (length + 1) * order)
    rows = value.movedim(1, -2)  # (B, .., 1 + T, D)
    states = F.linear(rows.flatten(-2), weight).unflatten(-1, (length + 1, order)).movedim(-2, 1)
    return states[:, 1:], states[:, -1]
