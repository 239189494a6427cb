"""Adversarial losses over the outputs of discriminators."""

import torch

from mixcodec.losses.discriminators import Outputs


def discriminator_loss(real: Outputs, fake: Outputs) -> torch.Tensor:
    """Least squares: real scores to 1, fake ones to 0 (Mao et al., 2017, Least Squares Generative Adversarial Networks)."""
    losses = [(1 - r).square().mean() + f.square().mean() for (r, _), (f, _) in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def generator_loss(fake: Outputs) -> torch.Tensor:
    """Least squares: fake scores to 1."""
    return torch.stack([(1 - scores).square().mean() for scores, _ in fake]).mean()


def feature_loss(real: Outputs, fake: Outputs) -> torch.Tensor:
    """Feature matching: mean absolute difference of features, over the real ones' mean size (Kumar et al., 2019, MelGAN)."""
    losses = []
    for (_, rs), (_, fs) in zip(real, fake, strict=True):
        losses += [(r.detach() - f).abs().mean() / r.detach().abs().mean().clamp(min=1e-3) for r, f in zip(rs, fs, strict=True)]
    return torch.stack(losses).mean()
