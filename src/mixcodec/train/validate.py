"""Validation: held-out speakers, averaged weights, several rates, judges; and the score that chooses a checkpoint."""

import statistics
from collections.abc import Collection, Mapping, Sequence

import torch

from mixcodec.data import Data
from mixcodec.judges.panel import ask
from mixcodec.losses import Spectral
from mixcodec.nn.codec import CodecNet

RATES = (0.375, 0.75, 1.0)  # shares of the codebooks
SCORED_BY = ("pesq", "stoi", "distillmos", "dnsmos", "harmonicity", "modulation")
"""The judges of the score: those that a loss follows and those that none does. It takes all of them, or none."""
SILENT = {"pesq": 1.0, "stoi": 0.0, "distillmos": 1.0, "dnsmos": 1.0, "harmonicity": -10.0, "modulation": 10.0}
"""What a judge counts as where it has no value for any segment, as of a decoder that is still silent."""


def scored_by(judges: Collection[str]) -> tuple[str, ...]:
    """The judges of the score where these `judges` are asked: all of SCORED_BY, or none."""
    return SCORED_BY if set(SCORED_BY) <= set(judges) else ()


@torch.no_grad()
def validate(
    net: CodecNet, data: Data, spectral: Spectral, judges: Sequence[str] = ()
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Metrics over the validation batches, and some waves (N,) to listen to.

    For 3/8, 3/4 and all of the codebooks k: `mel_k`, `magnitude_k`, and what the `judges` say (mixcodec.judges.panel.ask):
    `pesq_k`, `stoi_k`, `distillmos_k` and so on, each the mean over the segments that have a value; `use`, the least share of a
    codebook in use; `score`, which is to fall (`score`).
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
            for pair in zip(target.float().cpu().numpy(), estimate.float().cpu().numpy(), strict=True):
                for name, value in ask(judges, *pair, data.config.sample_rate, net.frame_rate).items():
                    found.setdefault(f"{name}_{k}", []).append(value)
            if number == 0:
                audio |= {"original": target[0].cpu(), f"codebooks_{k}": estimate[0].cpu()}
    spectral.train(training)
    metrics = {name: statistics.fmean(values) for name, values in found.items()}
    metrics["use"] = float(seen.float().mean(1).min())
    metrics["score"] = score(metrics, books, judges)
    return metrics, audio


def score(metrics: Mapping[str, float], books: Sequence[int], judges: Collection[str]) -> float:
    """What a checkpoint is chosen by, the lower the better: the mean over the numbers of codebooks `books`.

    Where all of SCORED_BY are among the `judges`, of

        - (DistillMOS + DNSMOS OVRL + PESQ + 2.5 STOI) / 4 + |harmonicity| / 10 + modulation / 20 + 0.3 mel

    in which harmonicity is the change in dB from the original, modulation the mean of the three changes in dB without their
    signs, and mel the loss. No loss follows DistillMOS, DNSMOS, harmonicity and modulation; the others are followed by one.
    Else of mel alone.
    """
    if not scored_by(judges):
        return statistics.fmean(metrics[f"mel_{k}"] for k in books)
    return statistics.fmean(_score(metrics, k) for k in books)


def _score(metrics: Mapping[str, float], k: int) -> float:
    def value(name: str) -> float:
        return metrics.get(f"{name}_{k}", SILENT[name.split("_")[0]])

    opinion = (value("distillmos") + value("dnsmos") + value("pesq") + 2.5 * value("stoi")) / 4
    beating = statistics.fmean(abs(value(f"modulation_{multiple}")) for multiple in (1, 2, 3))
    return -opinion + abs(value("harmonicity")) / 10 + beating / 20 + 0.3 * metrics[f"mel_{k}"]
