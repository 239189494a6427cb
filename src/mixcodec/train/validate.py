"""Validation: held-out speakers, averaged weights, several rates."""

import importlib.util
import statistics

import torch

from mixcodec.data import Data
from mixcodec.losses import Spectral
from mixcodec.nn.codec import CodecNet

RATES = (0.375, 0.75, 1.0)  # shares of the codebooks


@torch.no_grad()
def validate(net: CodecNet, data: Data, spectral: Spectral) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Metrics over the validation batches, and some waves (N,) to listen to.

    For 3/8, 3/4 and all of the codebooks k: `mel_k`, `magnitude_k`, and where the packages are there `pesq_k` (wide band,
    at 16 kHz) and `stoi_k`; `use`, the least share of a codebook in use; `score`, the mean of mel_k, which is to fall.
    """
    device = next(net.parameters()).device
    segments, count = data.valid_segments(), data.config.validation_batches
    books = sorted({max(1, round(net.codebooks * share)) for share in RATES})
    found: dict[str, list[float]] = {}
    audio: dict[str, torch.Tensor] = {}
    seen = torch.zeros(net.codebooks, net.codebook_size, dtype=torch.bool)
    training = spectral.training
    spectral.eval()
    for number in range(count):
        wave = torch.from_numpy(segments.batch(number)).to(device)
        wave = wave[:, : wave.shape[1] // net.hop * net.hop]
        target = wave[:, : wave.shape[1] - net.delay]
        codes, _ = net.encode(wave, net.encoder_state(len(wave)))
        for k in range(net.codebooks):
            seen[k, codes[..., k].flatten().cpu()] = True
        for k in books:
            estimate = net.decode(codes[..., :k], net.decoder_state(len(wave)))[0][:, net.delay :]
            terms = spectral(estimate, target)
            for name in ("mel", "magnitude"):
                found.setdefault(f"{name}_{k}", []).append(float(terms[name]))
            for name, values in _perceptual(estimate, target, data.config.sample_rate).items():
                found.setdefault(f"{name}_{k}", []).extend(values)
            if number == 0:
                audio |= {"original": target[0].cpu(), f"codebooks_{k}": estimate[0].cpu()}
    spectral.train(training)
    metrics = {name: statistics.fmean(values) for name, values in found.items() if values}
    metrics["use"] = float(seen.float().mean(1).min())
    metrics["score"] = statistics.fmean(metrics[f"mel_{k}"] for k in books)
    return metrics, audio


def _perceptual(estimate: torch.Tensor, target: torch.Tensor, sample_rate: int) -> dict[str, list[float]]:
    """PESQ and STOI of each item of the batch, as far as their packages are installed."""
    values: dict[str, list[float]] = {}
    pairs = list(zip(target.cpu().double().numpy(), estimate.cpu().double().numpy(), strict=True))
    if sample_rate == 16000 and importlib.util.find_spec("pesq"):
        from pesq import NoUtterancesError, pesq

        values["pesq"] = []
        for clean, coded in pairs:
            try:
                values["pesq"].append(float(pesq(sample_rate, clean, coded, "wb")))
            except NoUtterancesError:
                continue
    if importlib.util.find_spec("pystoi"):
        from pystoi import stoi

        values["stoi"] = [float(stoi(clean, coded, sample_rate)) for clean, coded in pairs]
    return values
