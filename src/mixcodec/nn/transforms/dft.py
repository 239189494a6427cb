"""The discrete Fourier transform of real numbers, as matrix products that are small."""

import math

import torch


class RealDft(torch.nn.Module):
    """x (..., N) <-> real and imaginary parts (..., N // 2 + 1) of its orthonormal DFT.

    N = P Q is taken as P x Q: a DFT of P, turned by roots of unity, and a DFT of Q (Cooley and Tukey, 1965, An Algorithm for the
    Machine Calculation of Complex Fourier Series). In place of a matrix of N^2 numbers there are some of P^2, N and Q^2, which
    a graph holds in a hundredth of the room; they need no special operator.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        first = max(p for p in range(1, math.isqrt(size) + 1) if size % p == 0)
        second = size // first
        self.size, self.first, self.second = size, first, second
        self.bins, self.rows = size // 2 + 1, size // 2 // first + 1  # bin a + first * b is at row b, column a
        a = torch.arange(first, dtype=torch.float64)
        n, b = torch.arange(second, dtype=torch.float64), torch.arange(self.rows, dtype=torch.float64)
        inner = 2 * math.pi * (a[:, None] * a % first) / first
        turn = 2 * math.pi * (n[:, None] * a) / size
        outer = 2 * math.pi * (n[:, None] * b % second) / second
        c, s = outer.cos() / math.sqrt(size), outer.sin() / math.sqrt(size)
        twice = torch.full((self.rows, first), 2.0, dtype=torch.float64).flatten()  # a bin stands for its mirror image too
        twice[0] = 1.0
        if size % 2 == 0:
            twice[size // 2] = 1.0
        tables = {
            "inner": torch.cat([inner.cos(), -inner.sin()], 1),
            "inner_back": torch.cat([inner.cos(), -inner.sin()], 0),
            "turn_re": turn.cos(),
            "turn_im": -turn.sin(),
            "outer": torch.cat([torch.cat([c, -s], 1), torch.cat([s, c], 1)]),
            "outer_back": torch.cat([torch.cat([c.T, s.T], 1), torch.cat([-s.T, c.T], 1)]),
            "twice": twice[: self.bins],
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float().contiguous(), persistent=False)
        self.inner: torch.Tensor
        self.inner_back: torch.Tensor
        self.turn_re: torch.Tensor
        self.turn_im: torch.Tensor
        self.outer: torch.Tensor
        self.outer_back: torch.Tensor
        self.twice: torch.Tensor

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Real and imaginary parts of the bins."""
        re, im = (x.unflatten(-1, (self.first, self.second)).mT @ self.inner).chunk(2, -1)  # (..., second, first)
        turned = torch.cat([re * self.turn_re - im * self.turn_im, re * self.turn_im + im * self.turn_re], -2)
        re, im = (turned.mT @ self.outer).mT.chunk(2, -2)  # (..., rows, first)
        return re.flatten(-2)[..., : self.bins], im.flatten(-2)[..., : self.bins]

    def inverse(self, re: torch.Tensor, im: torch.Tensor) -> torch.Tensor:
        """x of its bins; of the imaginary parts at 0 and N / 2, which are those of no real x, nothing is seen."""
        some = self.rows * self.first - self.bins
        parts = [
            torch.nn.functional.pad(part * self.twice, (0, some)).unflatten(-1, (self.rows, self.first)) for part in (re, im)
        ]
        re, im = (torch.cat(parts, -2).mT @ self.outer_back).mT.chunk(2, -2)  # (..., second, first)
        turned = torch.cat([re * self.turn_re + im * self.turn_im, im * self.turn_re - re * self.turn_im], -1)
        return (turned @ self.inner_back).mT.flatten(-2)
