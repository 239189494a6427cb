"""The bidirectional state space."""

import torch
import torch.nn.functional as F

from mixcodec.nn.mixers.base import MIXERS, Mixer, divides, kernel_size, never_causal
from mixcodec.nn.mixers.heads import head_norm, split_heads
from mixcodec.nn.mixers.parts import Depthwise
from mixcodec.nn.mixers.scan import matrix_scan, wide
from mixcodec.nn.mixers.ssm import step_bias
from mixcodec.registry import whole_number

Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@MIXERS.register("hydra")
class Hydra(Mixer):
    """A quasiseparable matrix over the tokens: `ssd` shifted by one from each end, plus a diagonal of its own.

    Hwang et al., 2024, Hydra: Bidirectional State Space Models Through Generalized Matrix Mixers. Both directions share all
    but their time steps; the shifts leave the diagonal free, so that a token's own part is not counted twice but learned,
    as D and a linear map of the token. (B, *grid, C) of any rank, a plane read row by row. Cost per token: about
    3 * expansion * C^2 + 4 * expansion * C * states, and 2 * Q * (heads * states + expansion * C) among the Q = min(N, 64)
    tokens of a chunk.
    """

    grid_ranks = (1, 2, 3)
    values, mixed = "written", "read"

    def __init__(
        self,
        channels: int,
        heads: int = 4,
        states: int = 16,
        expansion: int = 2,
        kernel: int = 7,
        causal: bool = False,
    ) -> None:
        super().__init__()
        never_causal("hydra", causal, "its one half runs back from the end of the signal; take 'ssd', which is the other")
        for name, number in (("states", states), ("expansion", expansion)):
            whole_number(f"mixer 'hydra': {name}", number, 1, 4096)
        kernel_size("hydra", kernel, causal)
        self.causal, self.hidden, self.states, self.heads = causal, expansion * channels, states, heads
        divides("hydra", self.hidden, heads)
        self.sizes = [self.hidden, self.hidden + 2 * states, 2 * heads]
        self.up = torch.nn.Linear(channels, sum(self.sizes), bias=False)
        self.convolution = Depthwise(self.sizes[1], kernel, False, bias=True)
        self.written, self.read = torch.nn.Identity(), torch.nn.Identity()
        self.pace_bias = torch.nn.Parameter(step_bias(heads))
        self.log_rate = torch.nn.Parameter(torch.linspace(1, 16, heads).log())
        self.diagonal = torch.nn.Linear(self.hidden, heads, bias=False)
        self.skip = torch.nn.Parameter(torch.ones(heads))
        self.norm = torch.nn.Parameter(torch.ones(self.hidden))
        self.down = torch.nn.Linear(self.hidden, channels, bias=False)

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, Parts]:
        """The gate (B, N, hidden), and queries, keys (B, N, heads, states), values (B, N, heads, ..), time steps
        (B, N, 2, heads, 1) of both directions and the diagonal (B, N, heads, 1), of tokens x (B, N, C).
        """
        gate, mixed, pace = self.up(x).split(self.sizes, -1)
        mixed = F.silu(self.convolution.step(mixed, {})[0])
        u, key, query = mixed.split([self.hidden, self.states, self.states], -1)
        diagonal = (self.diagonal(u) + self.skip)[..., None]
        pace = wide(F.softplus(pace.unflatten(-1, (2, -1)) + self.pace_bias))[..., None]
        key, query = (part[:, :, None].expand(-1, -1, self.heads, -1) for part in (key, query))
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
        y = self.read(y).flatten(-2).to(x.dtype) * F.silu(gate)
        return self.down(head_norm(y[..., None, :], self.norm)).reshape(x.shape)
