"""Adversarial losses over the outputs of discriminators."""

import torch

from mixcodec.losses.discriminators import Outputs
from mixcodec.nn.processes import mean_over_processes


def discriminator_loss(real: Outputs, fake: Outputs) -> torch.Tensor:
    """Least squares: real scores to 1, fake ones to 0 (Mao et al., 2017, Least Squares Generative Adversarial Networks)."""
    losses = [(1 - r).square().mean() + f.square().mean() for (r, _), (f, _) in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def generator_loss(fake: Outputs) -> torch.Tensor:
    """Least squares: fake scores to 1."""
    return torch.stack([(1 - scores).square().mean() for scores, _ in fake]).mean()


def feature_loss(real: Outputs, fake: Outputs) -> torch.Tensor:
    """Feature matching: mean absolute difference of features, over the real ones' mean size (Kumar et al., 2019, MelGAN).

    The size is that over all processes that train together, which must come here equally often.
    """
    pairs = [(r.detach(), f) for (_, rs), (_, fs) in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True)]
    sizes = mean_over_processes(torch.stack([r.abs().mean() for r, _ in pairs])).clamp(min=1e-3)
    return torch.stack([(r - f).abs().mean() / size for (r, f), size in zip(pairs, sizes, strict=True)]).mean()
