"""Excitation: pulses whose phase runs on from frame to frame, and noise that every machine draws alike."""

import math

import numpy as np
import torch

CYCLE = 1 << 24
"""Parts of a cycle in which phase is counted: whole numbers, so that a stream in any chunks adds up to the same."""
TABLES = (12007, 8009)
"""Lengths of the two loops of noise, primes: their sum repeats after PERIOD samples."""
PERIOD = TABLES[0] * TABLES[1]


def pulses(start: torch.Tensor, f0: torch.Tensor, samples: int, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A pulse train (B, K * samples): every harmonic below half the sample rate as a cosine of amplitude 1.

    `f0` (B, K + 1) in Hz, above 0, at nodes that lie `samples` apart; between them it is a straight line. `start` (B,), int64,
    is the phase at the first node in parts of a cycle; the second result is the phase (B, K + 1) at every node.
    The sum over harmonics has a closed form (Dirichlet's kernel), two sines a sample whatever the pitch.
    """
    here, there = f0[:, :-1, None], f0[:, 1:, None]
    after = torch.arange(1, samples + 1, dtype=f0.dtype, device=f0.device)
    turned = (here * after + (there - here) * (after * (after + 1) / (2 * samples))) / sample_rate  # cycles since the node
    steps = torch.round(turned[..., -1].double() * CYCLE).long()
    phase = torch.cat([start[:, None], start[:, None] + steps.cumsum(1)], 1) % CYCLE
    cycles = phase[:, :-1, None].to(f0.dtype) / CYCLE + turned
    t = 2 * math.pi * (cycles - cycles.floor())
    f = here + (there - here) * (after / samples)
    top = (0.5 * sample_rate / f - 0.01).floor() + 0.5
    bottom = 2 * torch.sin(t / 2)
    near = bottom.abs() < 2e-3
    sound = torch.where(near, top, torch.sin(top * t) / torch.where(near, torch.ones_like(bottom), bottom)) - 0.5
    return sound.flatten(1), phase


def noise_tables() -> list[torch.Tensor]:
    """The two loops of Gaussian noise, as float16 can hold them."""
    rng = np.random.default_rng(20_000)
    return [torch.from_numpy(rng.standard_normal(size).astype(np.float16).astype(np.float32)) for size in TABLES]


def looped_noise(tables: list[torch.Tensor], at: torch.Tensor, samples: int) -> torch.Tensor:
    """White noise (B, samples) of variance 1, from position `at` (B,), int64, of the loops on."""
    places = at[:, None] + torch.arange(samples, device=at.device)
    first, second = (table[places % size] for table, size in zip(tables, TABLES, strict=True))
    return (first + second) * math.sqrt(0.5)
