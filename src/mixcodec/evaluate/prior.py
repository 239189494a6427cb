"""What a small neural prior would make of a codec's codes: a bound on what better tables could still save.

    python -m mixcodec.evaluate.prior --learn FOLDER --learn-list FILE --data FOLDER [--list FILE] [--model NAME]

A log-bilinear model (Mnih and Hinton 2007, "Three New Graphical Models for Statistical Language Modelling") of each code given
all codes of the frame before and the coarser ones of its own frame: sums of embeddings, one output layer a codebook, with
`--hidden` a rectified layer between. It is fitted to the codes of one folder and tried on another's; beside it stand the
model's own context tables, on the same codes. Nothing codes files with it: its numbers are floats.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mixcodec.entropy import ContextTables
from mixcodec.evaluate.entropy import PACKET_FRAMES, book_bits, folder_to_codes
from mixcodec.runtime import load
from mixcodec.tokens import code_bits

BATCH = 1024
HIGHEST_RATE = 3e-3

Codes = NDArray[np.int64]


class Prior(torch.nn.Module):
    """Bits of each code given the frame before and the coarser codes of its own; `size` stands for a code that is not there."""

    def __init__(self, books: int, size: int, width: int, hidden: bool) -> None:
        super().__init__()
        self.books = books
        self.contexts = torch.nn.ParameterList(
            [torch.nn.Parameter(0.05 * torch.randn(books + k, size + 1, width)) for k in range(books)]
        )
        self.inner = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(books)]) if hidden else None
        self.outer = torch.nn.ModuleList([torch.nn.Linear(width, size) for _ in range(books)])

    def forward(self, before: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        """(N, K) bits of the codes `frame` (N, K) after those of `before` (N, K)."""
        seen = torch.cat([before, frame], 1)
        bits = []
        for k, tables in enumerate(self.contexts):
            x = sum((F.embedding(seen[:, j], tables[j]) for j in range(self.books + k)), torch.zeros(()))
            if self.inner is not None:
                x = self.inner[k](x.relu())
            bits.append(F.cross_entropy(self.outer[k](x), frame[:, k], reduction="none"))
        return torch.stack(bits, 1) / math.log(2)


def pairs(clips: Sequence[Codes], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All frames (N, K) of the clips and the frames before them, none at the start of a packet."""
    frames = np.concatenate(clips)
    before = np.concatenate([np.concatenate([np.full_like(clip[:1], size), clip[:-1]]) for clip in clips])
    before[np.concatenate([np.arange(len(clip)) for clip in clips]) % PACKET_FRAMES == 0] = size
    return torch.from_numpy(before), torch.from_numpy(frames)


def fit(prior: Prior, before: torch.Tensor, frames: torch.Tensor, steps: int, decay: float, seed: int = 0) -> None:
    """Fit for so many steps, the rate falling to nothing."""
    optimizer = torch.optim.AdamW(prior.parameters(), lr=HIGHEST_RATE, weight_decay=decay)
    random = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = HIGHEST_RATE * (1 - step / steps)
        batch = torch.from_numpy(random.integers(0, len(frames), BATCH))
        optimizer.zero_grad(set_to_none=True)
        prior(before[batch], frames[batch]).mean().backward()
        optimizer.step()


@torch.no_grad()
def mean_bits(prior: Prior, before: torch.Tensor, frames: torch.Tensor) -> Codes:
    """(K,) mean bits of a code of each codebook."""
    blocks = zip(torch.split(before, 4096), torch.split(frames, 4096), strict=True)
    bits: Codes = torch.cat([prior(b, f) for b, f in blocks]).mean(0).numpy()
    return bits


def main() -> None:
    """The command of the module's docstring."""
    parser = argparse.ArgumentParser(description="Bits a code of a small neural prior, beside those of the context tables.")
    parser.add_argument("--learn", type=Path, required=True, help="folder of audio files to fit it to")
    parser.add_argument("--learn-list", type=Path, help="file that names the clips of it to take, one a line")
    parser.add_argument("--data", type=Path, required=True, help="folder of audio files to try it on")
    parser.add_argument("--list", type=Path, help="file that names the clips of it to take, one a line")
    parser.add_argument("--model", default="speech-16k", help="name or folder of a model with entropy tables")
    parser.add_argument("--steps", type=int, default=3000, help="batches of 1024 frames to fit to")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--decay", type=float, default=0.3, help="weight decay")
    parser.add_argument("--hidden", action="store_true", help="with a rectified layer")
    options = parser.parse_args()
    torch.manual_seed(0)
    codec = load(options.model)
    size, kbps = codec.codebook_size, codec.max_kbps()
    learn = folder_to_codes(codec, options.learn, options.learn_list, kbps)
    clips = folder_to_codes(codec, options.data, options.list, kbps)
    prior = Prior(codec.codebooks, size, options.width, options.hidden)
    fit(prior, *pairs(learn, size), options.steps, options.decay)
    neural = mean_bits(prior, *pairs(clips, size))
    print(f"learned from {sum(map(len, learn))} frames, tried on {sum(map(len, clips))}")
    rows = [("neural prior", neural)]
    if codec.tables:
        packets = [clip[None, i : i + PACKET_FRAMES] for clip in clips for i in range(0, len(clip), PACKET_FRAMES)]
        rows.append(("context tables", np.array(book_bits(ContextTables(codec.tables), packets))))
    for name, bits in rows:
        saved = 1 - bits.mean() / code_bits(size)
        print(f"{name:15}{bits.mean():7.3f} bits a code, {saved:5.1%} saved; by codebook", *(f"{b:.2f}" for b in bits))


if __name__ == "__main__":
    main()
