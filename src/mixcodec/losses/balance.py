"""Losses of different scale, made to weigh what their weights say."""

from collections.abc import Mapping

import torch

from mixcodec.nn.processes import sum_over_processes, world

FLOOR = 1e-12  # of a gradient's norm


class Balancer(torch.nn.Module):
    """Several losses of one wave -> one gradient of it, of which each has the share that its weight is of all weights.

    g = norm * sum over i of (w_i / sum w) g_i / <|g_i|>, with g_i the gradient of loss i at the wave and <|g_i|> the moving
    average of its length: a loss pulls as strongly as its weight says, whatever its units (Defossez et al., 2022, High Fidelity
    Neural Audio Compression). A loss that is not there at a step takes its share with it, and the others keep theirs.
    """

    def __init__(self, weights: Mapping[str, float], decay: float = 0.999, norm: float = 1.0) -> None:
        """`decay` of the averages in (0, 1); `norm`, the length of the gradient when all losses agree on its direction."""
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.decay, self.norm = decay, norm
        self.register_buffer("total", torch.zeros(len(self.weights)))
        self.register_buffer("seen", torch.zeros(len(self.weights)))
        self.total: torch.Tensor
        self.seen: torch.Tensor

    def gradient(self, losses: Mapping[str, torch.Tensor], wave: torch.Tensor) -> torch.Tensor:
        """The gradient, shaped like `wave`, a leaf that requires one; of a loss without a weight nothing is taken."""
        gradient = torch.zeros_like(wave)
        share = self.norm / sum(self.weights.values())
        pulls = {name: torch.autograd.grad(losses[name], wave, retain_graph=True)[0] for name in self.weights if name in losses}
        squares = torch.stack([pull.square().sum() for pull in pulls.values()])
        sum_over_processes(squares)
        lengths = squares.sqrt() / world()  # of the gradient at the waves of all processes, whose mean is what is lowered
        for (name, pull), length in zip(pulls.items(), lengths, strict=True):
            i, sound = list(self.weights).index(name), length.isfinite()  # not asked for, for a GPU would have to be waited for
            self.total[i] = torch.where(sound, self.total[i].lerp(length, 1 - self.decay), self.total[i])
            self.seen[i] = torch.where(sound, self.seen[i].lerp(torch.ones_like(length), 1 - self.decay), self.seen[i])
            usual = (self.total[i] / self.seen[i].clamp(min=FLOOR)).clamp(min=FLOOR)
            gradient += torch.where(sound, share * self.weights[name] * pull / usual, 0.0)
        return gradient
