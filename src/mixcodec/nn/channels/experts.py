"""A mixture of experts, some of which compute nothing."""

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels.base import CHANNELS, ChannelMixer, with_loss
from mixcodec.nn.channels.mlp import Mlp
from mixcodec.registry import whole_number


class Constant(torch.nn.Module):
    """a * x + b * v with a learned vector v and weights (a, b) = softmax(linear(x)): almost no cost."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = torch.nn.Linear(channels, 2, bias=False)
        self.vector = torch.nn.Parameter(torch.randn(channels) * channels**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own, other = self.weights(x).softmax(-1).chunk(2, -1)
        return own * x + other * self.vector


@CHANNELS.register("experts")
class Experts(ChannelMixer):
    """The `chosen` most likely experts of a token, weighed by their likelihood: perceptrons, zero, the token, and constants.

    Jin et al., 2024, MoE++: Accelerating Mixture-of-Experts Methods with Zero-Computation Experts. An easy token may go to an
    expert that is free: one gives zero, one the token itself, `constants` give a mean of it and a learned vector. In training
    a loss, `balance` times, keeps experts in use: its gradient comes with that of the output, so that a block need not
    know of it; perceptrons should be chosen 1 / `free` times as often as free ones. (The authors also hand a layer's routes
    on to the next; here blocks don't know of each other.) (..., C) -> (..., C). Cost per token: at most
    chosen * 2 * expansion * C^2, less what goes to free experts, but in an exported graph every perceptron sees every token. No
    state.
    """

    def __init__(
        self,
        channels: int,
        experts: int = 4,
        constants: int = 1,
        chosen: int = 2,
        expansion: float = 2,
        balance: float = 0.01,
        free: float = 0.75,
    ) -> None:
        super().__init__()
        self.count = whole_number("channel mixer 'experts': experts", experts)
        whole_number("channel mixer 'experts': constants", constants, 0)
        for name, number in (("balance", balance), ("free", free)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < float("inf"):
                raise ConfigError(f"channel mixer 'experts': {name} is {number!r}, but must be a number from 0 up")
        total = experts + 2 + constants
        self.chosen = whole_number("channel mixer 'experts': chosen", chosen, 1, total)
        self.balance = balance
        self.router = torch.nn.Linear(channels, total, bias=False)
        self.experts = torch.nn.ModuleList(Mlp(channels, expansion) for _ in range(experts))
        self.constants = torch.nn.ModuleList(Constant(channels) for _ in range(constants))
        self.share: torch.Tensor
        self.register_buffer("share", torch.tensor([1.0] * experts + [free] * (2 + constants)), persistent=False)

    def routes(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The likelihoods of the experts (..., E) of tokens x, and the weights (..., E): the same where chosen, else 0.

        In order: the perceptrons, zero, the token, the constants.
        """
        likely = self.router(x).float().softmax(-1)
        best = likely.topk(self.chosen, -1).indices
        return likely, likely * F.one_hot(best, likely.shape[-1]).sum(-2).to(likely.dtype)

    def imbalance(self, likely: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Sum over experts of the share of choices times mean likelihood, times experts and what they should have."""
        likely, weights = (part.reshape(-1, part.shape[-1]) for part in (likely, weights))
        often = (weights > 0).float().mean(0) / self.chosen
        return (often * likely.mean(0) * self.share).sum() * len(often)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        likely, weights = self.routes(x)
        weights = weights.to(x.dtype)
        y = weights[..., self.count + 1, None] * x
        for i, constant in enumerate(self.constants, self.count + 2):
            y = y + weights[..., i, None] * constant(x)
        for i, expert in enumerate(self.experts):
            y = y + self.ask(expert, x, weights[..., i, None])
        if self.training and self.balance and not torch.compiler.is_exporting():
            y = with_loss(y, self.balance * self.imbalance(likely, weights))
        return y

    def ask(self, expert: torch.nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """weight * expert(x), the expert seeing only tokens of a weight that is not zero."""
        if torch.compiler.is_exporting():
            return weight * expert(x)
        tokens, weight = x.reshape(-1, x.shape[-1]), weight.reshape(-1, 1)
        rows = weight[:, 0].nonzero()[:, 0]
        y = torch.zeros_like(tokens).index_add(0, rows, weight[rows] * expert(tokens[rows]))
        return y.view_as(x)
