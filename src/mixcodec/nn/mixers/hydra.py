"""The bidirectional state space."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, never_causal
from mixcodec.nn.mixers.heads import split_heads
from mixcodec.nn.mixers.scan import matrix_scan, wide
from mixcodec.nn.mixers.ssm import Dual

Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@MIXERS.register("hydra")
class Hydra(Dual):
    """A quasiseparable matrix over the tokens: `ssd` shifted by one from each end, plus a diagonal of its own.

    Hwang et al., 2024, Hydra: Bidirectional State Space Models Through Generalized Matrix Mixers. Both directions share all
    but their time steps; the shifts leave the diagonal free, so that a token's own part is not counted twice but learned,
    as D and a linear map of the token. (B, *grid, C) of any rank, a plane read row by row. Cost per token: about
    3 * expansion * C^2 + 4 * expansion * C * states, and 2 * Q * (heads * states + expansion * C) among the Q = min(N, 64)
    tokens of a chunk.
    """

    grid_ranks = (1, 2, 3)

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        states: int = 16,
        expansion: int = 2,
        kernel: int = 7,
        causal: bool = False,
    ) -> None:
        never_causal("hydra", causal, "its one half runs back from the end of the signal; take 'ssd', which is the other")
        super().__init__("hydra", channels, heads, states, expansion, kernel, causal)
        self.diagonal = torch.nn.Linear(self.hidden, heads, bias=False)
        self.down = torch.nn.Linear(self.hidden, channels, bias=False)

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, Parts]:
        """The gate (B, N, hidden), and queries, keys (B, N, heads, states), values (B, N, heads, ..), time steps
        (B, N, 2, heads, 1) of both directions and the diagonal (B, N, heads, 1), of tokens x (B, N, C).
        """
        gate, mixed, pace = self.up(x).split(self.sizes, -1)
        u, key, query = self.split(self.convolution.step(mixed, {})[0])
        diagonal = (self.diagonal(u) + self.skip)[..., None]
        pace = wide(F.softplus(pace.unflatten(-1, (2, -1)) + self.pace_bias))[..., None]
        return gate, (query, key, split_heads(self.written(u), self.heads), pace, diagonal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(1, -2)
        gate, (query, key, u, pace, diagonal) = self.parts(tokens)
        rate = -wide(self.log_rate).exp()[:, None]
        start = torch.zeros(x.shape[0], self.heads, self.states, u.shape[-1], device=x.device)
        y = wide(diagonal * u)
        for direction in (0, 1):
            step = pace[:, :, direction]
            sequence = [query, key, step * u, rate * step]
            if direction:
                sequence = [part.flip(1) for part in sequence]
            past = F.pad(matrix_scan(*sequence, start)[0], [0, 0, 0, 0, 1, 0])[:, :-1]  # type: ignore[call-arg]
            y = y + (past.flip(1) if direction else past)
        return self.leave(y, gate, self.down, x).reshape(x.shape)
