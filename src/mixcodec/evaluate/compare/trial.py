"""One variant, trained: the trainer of `mixcodec train` on the base recipe with the variant's codec.

autoencoder (once for all quantizers: steps up to `codebooks_from` without a bottleneck) -> the variant's own steps
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mixcodec.evaluate.compare.offline import OfflineNet
from mixcodec.evaluate.compare.score import Clips, score
from mixcodec.evaluate.compare.variants import Variant, reason
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.nn.state import inside
from mixcodec.train import Recipe, Trainer
from mixcodec.train.checkpoint import load_checkpoint
from mixcodec.train.log import RunLog
from mixcodec.train.loop import schedule

SIDES = ("encoder", "decoder")
CHECKPOINT = "last.safetensors"
"""The name that the trainer gives its newest checkpoint."""
REWARM = 20
"""Steps in which the learning rate rises anew after the shared autoencoder, whose optimizer is not handed on."""


@dataclasses.dataclass(frozen=True)
class Task:
    """All that a worker needs for one row."""

    variant: Variant
    recipe: Recipe
    """With the seed; its codec is that of the base."""
    folder: Path
    """For what is kept while it trains."""
    shared: Path | None = None
    """The checkpoint of the autoencoder that it goes on from."""
    clips: Clips = dataclasses.field(default_factory=Clips)
    initial: Path | None = None
    """The checkpoint or model folder that a new run begins with."""


class Trial(Trainer):
    """A trainer that does not validate: what it trains is scored at the end."""

    def _validate(self, record: RunLog) -> None:
        return

    def take_sides(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on with the encoder and the decoder of another run."""
        for name, net in (("net", self.net.module), ("ema", self.ema)):
            for side in SIDES:
                getattr(net, side).load_state_dict(inside(f"{name}.{side}", tensors))


class OfflineTrial(Trial):
    """The same for a codec that looks ahead."""

    net_class = OfflineNet


def train_shared(recipe: Recipe, checkpoint: Path) -> None:
    """Trains the base up to step `codebooks_from`, or goes on with it, where `checkpoint` does not hold that yet."""
    trainer = Trial(dataclasses.replace(quiet(recipe), out=str(checkpoint.parent)))
    if trainer.step < recipe.codebooks_from:
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.run(until=recipe.codebooks_from)


def quiet(recipe: Recipe) -> Recipe:
    """The same run without lines and validations on the way."""
    return dataclasses.replace(recipe, log_every=recipe.steps + 1, validate_every=recipe.steps + 1, judges=())


def after_shared(recipe: Recipe) -> Recipe:
    """What is left of a recipe after the autoencoder: the rest of its steps, from the learning rate reached."""
    begun = recipe.codebooks_from
    return dataclasses.replace(
        recipe, steps=recipe.steps - begun, codebooks_from=0, warmup=REWARM, lr=recipe.lr * schedule(begun, recipe)
    )


def run_trial(task: Task) -> dict[str, Any]:
    """The row of a variant: trained and scored, or why it was not. Whatever goes wrong in a kind stands in its row."""
    begun, clock = time.time(), time.process_time()
    try:
        row = _train_and_score(task)
    except Exception as error:  # a kind that breaks must not take the others with it
        return failed(reason(error))
    took = {"wall_seconds": time.time() - begun, "cpu_seconds": time.process_time() - clock}
    return {"status": "done"} | {name: round(seconds, 2) for name, seconds in took.items()} | row


def failed(reason: str) -> dict[str, Any]:
    """The row of a variant that could not be trained."""
    return {"status": "failed", "reason": reason}


def _train_and_score(task: Task) -> dict[str, Any]:
    variant = task.variant
    recipe = dataclasses.replace(quiet(task.recipe), codec=dict(variant.codec), out=str(task.folder))
    if task.shared is not None:
        recipe = after_shared(recipe)
    if variant.dropout is not None:
        recipe = dataclasses.replace(recipe, dropout=variant.dropout)
    entries = QUANTIZERS.build(variant.codec["quantizer"], channels=variant.codec["latent"]).size
    recipe = dataclasses.replace(recipe, start_frames=max(recipe.start_frames, entries))
    begun = (task.folder / CHECKPOINT).exists()
    trainer = (Trial if variant.streams else OfflineTrial)(recipe, None if begun else task.initial)
    if task.shared is not None and trainer.step == 0:
        trainer.take_sides(load_checkpoint(task.shared)[0])
    first, clock = trainer.step, time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.run()
    clock = (time.process_time() - clock) / max(1, trainer.step - first)
    net = trainer.ema
    row = {"steps": trainer.step, "train_cpu_seconds_a_step": round(clock, 4), "weights": weights_hash(net)}
    row |= score(net, trainer.data, task.clips)
    shutil.rmtree(task.folder, ignore_errors=True)
    return row


def weights_hash(net: CodecNet) -> str:
    """Tells whether two runs ended with the same weights."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
