"""Excitation: pulses whose phase runs on from frame to frame, and noise that every machine draws alike."""

import math

import numpy as np
import torch

CYCLE = 1 << 24
"""Parts of a cycle in which phase is counted: whole numbers, so that a stream in any chunks adds up to the same."""
TABLES = (12007, 8009)
"""Lengths of the two loops of noise, primes: their sum repeats after PERIOD samples."""
PERIOD = TABLES[0] * TABLES[1]


def since_onset(steps: torch.Tensor, start: torch.Tensor, onset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A count before and after each of K steps, both (B, K).

    It begins at `start` (B,), and anew at 0 before a step with an `onset`.

    `steps` and `start` are whole numbers from 0 up, `onset` (B, K) is a mask.
    """
    after = steps.cumsum(1)
    before = after - steps
    at = torch.arange(steps.shape[1], device=steps.device)
    last = running_max(torch.where(onset, at, -1))  # of places, not of counts: onnxruntime's maximum is wrong beyond 2^31
    base = torch.where(last < 0, -start[:, None], before.gather(1, last.clamp(min=0)))
    return before - base, after - base


def running_max(x: torch.Tensor) -> torch.Tensor:
    """The greatest of x (B, K) so far. An exported graph, which has no such operator, takes fewer than 2^16 numbers."""
    if not torch.compiler.is_exporting():
        return x.cummax(1).values
    at = torch.arange(x.shape[1], device=x.device)
    for bit in range(16):  # the first number, which is in every part, stands for those before it
        x = torch.maximum(x, x.index_select(1, (at - (1 << bit)).clamp(min=0)))
    return x


def pulses(
    f0: torch.Tensor, start: torch.Tensor, onset: torch.Tensor, samples: int, sample_rate: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A pulse train (B, K * samples): every harmonic below half the sample rate as a cosine of amplitude 1.

    `f0` (B, K + 1) in Hz, above 0, at nodes that lie `samples` apart; between them it is a straight line. `start` (B,), int64,
    is the phase at the first node in parts of a cycle, which begins anew at 0 where there is an `onset` (B, K); the second result
    is the phase (B, K) at every node but the first. The sum over harmonics has a closed form (Dirichlet's kernel), two sines a
    sample whatever the pitch.
    """
    here, there = f0[:, :-1, None], f0[:, 1:, None]
    after = torch.arange(1, samples + 1, dtype=f0.dtype, device=f0.device)
    turned = (here * after + (there - here) * (after * (after + 1) / (2 * samples))) / sample_rate  # cycles since the node
    steps = torch.round(turned[..., -1].double() * CYCLE).long()
    before, phase = since_onset(steps, start, onset)
    cycles = (before % CYCLE)[..., None].to(f0.dtype) / CYCLE + turned
    t = 2 * math.pi * (cycles - cycles.floor())
    f = here + (there - here) * (after / samples)
    top = (0.5 * sample_rate / f - 0.01).floor() + 0.5
    bottom = 2 * torch.sin(t / 2)
    near = bottom.abs() < 2e-3
    sound = torch.where(near, top, torch.sin(top * t) / torch.where(near, torch.ones_like(bottom), bottom)) - 0.5
    return sound.flatten(1), phase % CYCLE


def noise_tables() -> list[torch.Tensor]:
    """The two loops of Gaussian noise, as float16 can hold them."""
    rng = np.random.default_rng(20_000)
    return [torch.from_numpy(rng.standard_normal(size).astype(np.float16).astype(np.float32)) for size in TABLES]


def looped_noise(tables: list[torch.Tensor], places: torch.Tensor, samples: int) -> torch.Tensor:
    """White noise (B, K * samples) of variance 1: `samples` from each of the `places` (B, K), int64, of the loops on."""
    at = places[..., None] + torch.arange(samples, device=places.device)
    first, second = (table[at % size] for table, size in zip(tables, TABLES, strict=True))
    return ((first + second) * math.sqrt(0.5)).flatten(1)
