"""The training loop."""

import copy
import dataclasses
import logging
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy  # type: ignore[attr-defined]

from mixcodec.data import Prefetcher, Segments, open_data
from mixcodec.errors import ConfigError
from mixcodec.judges.panel import RATE as JUDGED_RATE
from mixcodec.judges.panel import judges_present
from mixcodec.losses import (
    Balancer,
    Envelope,
    Loudness,
    Recognition,
    Spectral,
    WhisperDecoder,
    WhisperEncoder,
    Words,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from mixcodec.losses.discriminators import DISCRIMINATORS
from mixcodec.losses.recognition import WIDTH as TEACHER_WIDTH
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.processes import mean_over_processes
from mixcodec.nn.state import inside, scoped
from mixcodec.outside import check_used, used_in
from mixcodec.train.budget import Budget
from mixcodec.train.changed import check_audio, kept_changes, resumed
from mixcodec.train.checkpoint import load_checkpoint, load_meta, optimizer_tensors, restore_optimizer, save_checkpoint
from mixcodec.train.log import RunLog, spoken
from mixcodec.train.precision import decide
from mixcodec.train.recipe import Recipe
from mixcodec.train.teacher import WhisperListener, WhisperTeacher, whisper_weights
from mixcodec.train.validate import SCORED_BY, scored_by, validate
from mixcodec.train.warm import adopt, initial_path

log = logging.getLogger(__name__)

START, ACTIVE, FORWARD, LOSSES = range(4)
"""The stages of a step that draw: each draws the same, however much the others do."""
UNSEEN = 1_000_000_000
"""Number of the first batch that no step comes to."""
TEACHER_BATCHES = 16
"""Batches that tell a teacher what the corpus looks like."""


class Unrounded(MixedPrecision):
    """Mixed precision in which a wave reaches the network as it is.

    Fabric rounds every input to 16 bits first. That is noise 50 dB under each sample, which a codec would learn to code.
    """

    def convert_input(self, data: Any) -> Any:
        return data


class Trainer:
    """One run of a recipe on the data it names; `run` goes on from the run's checkpoint if there is one.

    Every draw is a function of the seed and the step, so a run that was stopped ends with the same weights as one that was
    not. Several processes share the batch of a step, each taking its part of the segments: drawn are the same segments, crops
    and numbers of codebooks as by one process that has them all, and what a loss or a codebook averages is averaged over all.
    """

    net_class: ClassVar[type[CodecNet]] = CodecNet
    """What is built from the codec that the recipe describes."""

    def __init__(self, recipe: Recipe, initial: Path | None = None) -> None:
        """`initial`, or else the recipe's, is a checkpoint or a model folder whose weights (not optimizer or step) a new run
        begins with; its codebooks are kept as they are.

        Raises ConfigError where it does not fit the recipe, or the run in the recipe's folder has begun with others; and where
        the recipe changes what a run can't change, see `changed.py`.
        """
        begun = self.clock()
        if initial:
            recipe = dataclasses.replace(recipe, initial=str(initial))
        self.recipe, self.folder, self.revision = recipe, recipe.folder, revision()
        meta = load_meta(self.checkpoint) if self.checkpoint.exists() else None
        changes = resumed(recipe, meta) if meta else None
        if meta:
            check_used(meta.get("parts", {}), self.checkpoint)
        self.precision = decide(recipe, kept=str(meta.get("precision") or meta["recipe"]["precision"]) if meta else None)
        self.budget = Budget.resumed(recipe, meta) if meta else Budget(recipe)
        self.changes: list[dict[str, Any]] = kept_changes(meta, changes) if meta and changes else []
        self.notes = [self.precision.why, *(changes.notes(meta["step"]) if meta and changes else [])]
        """What there is to say before the first step."""
        torch.set_num_threads(recipe.threads)
        self.fabric = Fabric(
            accelerator=recipe.accelerator,
            devices=recipe.devices,
            strategy=DDPStrategy(find_unused_parameters=True) if recipe.devices > 1 else "auto",  # early, codebooks are unused
            precision=self.precision.name,  # type: ignore[arg-type]
        )
        precision = self.fabric.strategy.precision
        if isinstance(precision, MixedPrecision):
            precision.__class__ = Unrounded
        if recipe.devices > 1:
            self.fabric.launch()
        self.fabric.seed_everything(recipe.seed, verbose=False)
        with self.fabric.rank_zero_first():  # the first one packs the audio, the others find it in the cache
            self.data = open_data(recipe.data, pitch=bool(recipe.loss.pitch))
        if meta and changes:
            check_audio(recipe, meta, changes, self.data.manifest_hash)
        self.notes.append(f"{spoken(self.data.train.seconds)} to train on; held out for validation: {self.data.held_out}")
        net = self.net_class(recipe.codec)
        if recipe.learns == "decoder":
            net.keep_encoder()
        if recipe.loss.pitch and not net.head:
            raise ConfigError("loss.pitch needs a codec.head that reads pitch, such as 'harmonic'")
        self.ema = copy.deepcopy(net).requires_grad_(False).eval().to(self.fabric.device)
        adversary = DISCRIMINATORS.build(recipe.adversary.discriminator)
        learning = [p for p in net.parameters() if p.requires_grad]
        decay = [p for p in learning if p.ndim > 1]
        groups: list[dict[str, Any]] = [
            {"params": decay},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, recipe.lr, recipe.betas, weight_decay=recipe.weight_decay, fused=True)
        rival = torch.optim.AdamW(adversary.parameters(), recipe.adversary.lr, recipe.betas, fused=True)
        if recipe.compile:
            self._compile(net.encoder, net.decoder, adversary)
        self.net, self.optimizer = self.fabric.setup(net, optimizer)
        self.adversary, self.rival = self.fabric.setup(adversary, rival)
        options = {"complex_below": recipe.loss.complex_below}
        self.spectral = Spectral(recipe.codec["sample_rate"], recipe.loss.windows, recipe.loss.bands, **options).to(
            self.fabric.device
        )
        self.envelope = Envelope(recipe.codec["sample_rate"]).to(self.fabric.device)
        self.loudness = Loudness(recipe.codec["sample_rate"]).to(self.fabric.device)
        if recipe.compile:
            self._compile(self.spectral, self.envelope, self.loudness)
        self.balancer = _balancer(recipe).to(self.fabric.device) if recipe.loss.balanced else None
        self.listeners = _listeners(recipe, self.precision.name, self.fabric.device)
        self.teacher = self._teacher()
        self.step, self.best, self.seconds = 0, math.inf, 0.0
        self.judges = self._judges()
        self.history: list[dict[str, Any]] = []
        self.unlike = 0
        """How many of the first validations were scored by other judges."""
        self.fitted = False
        """Whether the codebooks have been fitted to data."""
        self.used = 0.0
        """Seconds that the run has taken, with all that is not training."""
        if meta:
            self._resume(self.checkpoint)
        elif recipe.initial:
            self.fitted = adopt(self.net.module, self.ema, self.adversary.module, initial_path(recipe.initial))
        self._begun = begun - self.used

    @staticmethod
    def clock() -> float:
        """Seconds."""
        return time.monotonic()

    @property
    def checkpoint(self) -> Path:
        """The newest state of the run; `best.safetensors` beside it is the one that validated best."""
        return self.folder / "last.safetensors"

    def summary(self) -> str:
        """What came out of the run so far, in lines: where it is, and which of its states is best by validation."""
        lines = [f"{self.step} steps; the newest state is {self.checkpoint}"]
        alike = self.history[self.unlike :]
        best = min(alike, key=lambda entry: entry["score"], default=None)
        if best:
            first, name = alike[0], self.folder / "best.safetensors"
            told = f"score {best['score']:.3g}, {first['score']:.3g} at step {first['step']}"
            untouched = ", the weights that it began with: nothing was gained" if best["step"] == 0 else ""
            lines.append(f"best by validation is step {best['step']}{untouched} ({told}): {name}")
        return "\n".join(lines)

    def run(self, until: int | None = None) -> None:
        """Trains up to step `until` (to the end of the run if None), validating and saving on the way."""
        recipe, budget, most = self.recipe, self.budget, math.inf if until is None else until
        segments = self.data.train_segments()
        rank, pinned = self.fabric.global_rank, self.fabric.device.type == "cuda"

        def batch(step: int) -> tuple[torch.Tensor, ...]:
            parts = tuple(torch.from_numpy(part) for part in segments.batch_with_pitch(step, rank))
            return tuple(part.pin_memory() for part in parts) if pinned else parts

        record = RunLog(self.folder, self.step, budget.end, rank == 0, self.precision.name)
        with record, Prefetcher(batch, start=self.step) as batches:
            for line in self.notes:
                record.say(line)
            started = self.clock() - self.seconds
            if not self.step and recipe.initial and most:  # what there is to improve on
                since = self.clock()
                self._validate(record)
                budget.tail = self.clock() - since
            for step, parts in batches:
                if step >= min(most, math.inf if budget.end is None else budget.end):
                    break
                if step >= recipe.codebooks_from and not self.fitted:
                    self._start_codebooks()
                wave, pitch = (part.to(self.fabric.device, non_blocking=True) for part in parts)
                values = self._train_step(wave, pitch)
                self.step = step + 1
                self.seconds = self.clock() - started
                self._keep_to_budget(record)
                last = self.step in (most, budget.end)
                if self.step % recipe.log_every == 0 or (self.fabric.world_size == 1 and record.due()):
                    means = mean_over_processes(torch.stack(list(values.values())))
                    known = dict(zip(values, means.tolist(), strict=True))  # only now is a GPU waited for
                    record.scalars("train", self.step, known | {"lr": self.optimizer.param_groups[0]["lr"]})
                record.advance()
                since = self.clock()
                if self.step % recipe.validate_every == 0 or last:
                    self._validate(record)
                if self.step % recipe.save_every == 0 or last:
                    self.save(self.checkpoint)
                budget.tail = max(budget.tail, self.clock() - since)

    def _keep_to_budget(self, record: RunLog) -> None:
        """Tells the budget how far the run is, and what comes of it to all processes and to the log."""
        self.used = self.clock() - self._begun
        if not self.budget.seconds:
            return
        if self.fabric.world_size > 1:  # they have to agree on the end
            self.used, self.budget.tail = self.fabric.broadcast((self.used, self.budget.tail))
        if self.budget.seen(self.step, self.used) and self.budget.end is not None:
            record.until(self.budget.end, f"{self.budget.end} steps fit into {self.recipe.hours:g} h")

    def save(self, path: Path) -> None:
        """Writes the whole state of the run (the first process does)."""
        if self.fabric.global_rank:
            return
        tensors = scoped("net", self.net.state_dict()) | scoped("ema", self.ema.state_dict())
        tensors |= scoped("adversary", self.adversary.state_dict())
        tensors |= scoped("optimizer", optimizer_tensors(self.optimizer)) | scoped("rival", optimizer_tensors(self.rival))
        if self.balancer:
            tensors |= scoped("balancer", self.balancer.state_dict())
        meta = {
            "recipe": self.recipe.as_dict(),
            "step": self.step,
            "fitted": self.fitted,
            "best": self.best,
            "judges": list(self.judges),
            "unlike": self.unlike,
            "seconds": self.seconds,
            "used": self.used,
            "precision": self.precision.name,
            "plan": self.budget.legs,
            "changes": self.changes,
            "parts": used_in([self.recipe.codec, self.recipe.adversary.discriminator]),
            "history": self.history,
            "manifest": self.data.manifest_hash,
            "revision": self.revision,
        }
        save_checkpoint(path, tensors, meta)

    def _resume(self, path: Path) -> None:
        tensors, meta = load_checkpoint(path)
        self._load_weights(path, tensors)
        restore_optimizer(self.optimizer, inside("optimizer", tensors))
        restore_optimizer(self.rival, inside("rival", tensors))
        if self.balancer:
            self.balancer.load_state_dict(inside("balancer", tensors))
        self.step, self.seconds = meta["step"], meta["seconds"]
        self.used = meta.get("used", self.seconds)
        if scored_by(meta.get("judges", ())) == scored_by(self.judges):
            self.best, self.unlike = meta["best"], meta.get("unlike", 0)
        else:  # scores are of another kind from now on
            self.unlike = len(meta["history"])
        self.history, self.fitted = meta["history"], meta.get("fitted", meta["step"] > self.recipe.codebooks_from)
        if meta["manifest"] != self.data.manifest_hash:
            log.warning("the data is not what this run began with: its manifest has another hash")

    def _judges(self) -> tuple[str, ...]:
        """Those of the recipe that can be asked; a warning where too few are left to choose a checkpoint by."""
        if not self.data.valid.clips:
            return ()
        heard = self.recipe.data.sample_rate >= JUDGED_RATE
        present = judges_present(self.recipe.judges) if heard else ()
        missing = [name for name in SCORED_BY if name in self.recipe.judges and name not in present]
        if missing and not self.fabric.global_rank:
            why = f"there is no judge {', '.join(missing)}" if heard else f"nobody judges sound of less than {JUDGED_RATE} Hz"
            log.warning("the best checkpoint is the one of the least mel distance, since %s", why)
        return present

    def _load_weights(self, path: Path, tensors: dict[str, torch.Tensor]) -> None:
        try:
            self.net.load_state_dict(inside("net", tensors))
            self.ema.load_state_dict(inside("ema", tensors))
            if adversary := inside("adversary", tensors):
                self.adversary.load_state_dict(adversary)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{path}: its weights are those of another codec or adversary than the recipe's ({reason})"
            ) from None

    def _compile(self, *parts: torch.nn.Module) -> None:
        """In place, what can be traced as a whole; a quantizer learns by steps that depend on the data, and stays as it is."""
        for part in parts:
            part.compile(dynamic=False)

    def _chance(self, stage: int, part: int = 0) -> None:
        """Makes what is drawn from here on a function of seed, step, `stage` and `part`, whatever was drawn before."""
        sequence = np.random.SeedSequence(self.recipe.seed, spawn_key=(self.step, stage, part))
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def _train_step(self, wave: torch.Tensor, pitch: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        recipe, adversary = self.recipe, self.recipe.adversary
        rate = recipe.lr * self.budget.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        hop = self.ema.hop
        wave = wave[:, : wave.shape[1] // hop * hop]
        taught = self.teacher and self.fitted and self.step % recipe.teacher.every == 0
        features = self.teacher(wave) if self.teacher and taught else None
        self._chance(ACTIVE)
        active = self._active(len(wave))
        self._chance(FORWARD, self.fabric.global_rank)
        estimate, _, commitment, usage, decoded = self.net(wave, active, self.fitted, features)
        self._chance(LOSSES)
        estimate, target = estimate[:, self.ema.delay :], wave[:, : wave.shape[1] - self.ema.delay]
        heard = estimate.detach().requires_grad_() if self.balancer else estimate
        terms = self.spectral(heard, target)
        weights = recipe.loss
        for name, term in (("envelope", self.envelope), ("loudness", self.loudness)):
            if getattr(weights, name):
                terms[name] = term(heard, target)
        for name, listener in self.listeners.items():
            with self.fabric.autocast():
                terms[name] = listener(heard[:: weights.recognition_every], target[:: weights.recognition_every])
        shares = {name: getattr(weights, name) for name in terms}
        values = {name: term.detach() for name, term in terms.items()}
        values |= {"commitment": commitment.detach(), "usage": usage.detach().min()}
        beside = weights.commitment * commitment  # what is not a loss of the wave, so nothing for the balancer
        if weights.pitch and self.ema.head and pitch is not None:
            for name, term in self.net.module.head.auxiliary(decoded, pitch).items():
                beside = beside + getattr(weights, name) * term
                values[name] = term.detach()
        if self.step >= adversary.begin and self.step % adversary.every == 0:
            size = min(round(adversary.crop_seconds * recipe.data.sample_rate), heard.shape[1])
            at = int(torch.randint(heard.shape[1] - size + 1, ()))
            fake, real = heard[:, at : at + size], target[:, at : at + size]
            values["discriminator"] = self._rival_step(real, fake.detach(), rate / recipe.lr)
            self.adversary.requires_grad_(False)
            with self.fabric.autocast():
                scores, wanted = self.adversary.module(fake), self.adversary.module(real)
            self.adversary.requires_grad_(True)
            fooled, matched = generator_loss(scores), feature_loss(wanted, scores)
            terms |= {"generator": fooled, "feature": matched}
            shares |= {"generator": adversary.weight, "feature": adversary.feature_weight}
            values |= {"generator": fooled.detach(), "feature": matched.detach()}
        if self.balancer:
            pull = self.balancer.gradient(terms, heard)
            loss = beside + (estimate * pull).sum()  # whose gradient at the wave is the pull
        else:
            loss = beside + sum(shares[name] * term for name, term in terms.items())
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        values |= {"loss": loss.detach(), "gradient": self._descend(self.net, self.optimizer)}
        self._average()
        return values

    def _descend(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        """A step with clipped gradients, unless they are not finite; their norm before."""
        norm = self.fabric.clip_gradients(net, optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        assert norm is not None
        optimizer.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]  # the fused kernel looks at it
        optimizer.step()
        return norm

    def _rival_step(self, real: torch.Tensor, fake: torch.Tensor, schedule: float) -> torch.Tensor:
        for group in self.rival.param_groups:
            group["lr"] = self.recipe.adversary.lr * schedule
        loss = discriminator_loss(self.adversary(real), self.adversary(fake))
        self.rival.zero_grad()
        self.fabric.backward(loss)
        self._descend(self.adversary, self.rival)
        return loss.detach()

    def _teacher(self) -> WhisperTeacher | None:
        """The recipe's teacher, knowing what the corpus looks like to it."""
        if not self.recipe.teacher.kind:
            return None
        if getattr(self.ema.quantizer, "teacher", 0) != TEACHER_WIDTH:
            told = "codec.quantizer must be a semantic_split whose teacher has as many numbers a frame"
            raise ConfigError(f"teacher.kind is {self.recipe.teacher.kind!r}, with {TEACHER_WIDTH}: {told}")
        teacher = WhisperTeacher(self.ema.sample_rate, self.ema.frame_rate, self.recipe.threads)
        segments = self.data.train_segments()
        teacher.fit(self._whole_batch(segments, UNSEEN + number) for number in range(TEACHER_BATCHES))
        return teacher

    def _active(self, batch: int) -> torch.Tensor:
        """How many codebooks each item uses (B,): drawn for the items of all processes, of which these are a part."""
        books, every = self.ema.codebooks, batch * self.fabric.world_size
        some = torch.randint(1, books + 1, (every,))
        active = torch.where(torch.rand(every) < self.recipe.dropout, some, self.recipe.usual_codebooks or books)
        return active[batch * self.fabric.global_rank :][:batch].to(self.fabric.device, non_blocking=True)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        self._chance(START)
        latents = list(self._latents())
        self.net.module.quantizer.start(torch.cat(latents)[: self.recipe.start_frames])
        self.fitted = True
        if self.fabric.world_size > 1:
            self.net.load_state_dict(self.fabric.broadcast(self.net.state_dict()))
        self.ema.load_state_dict(self.net.state_dict())

    def _latents(self) -> Iterator[torch.Tensor]:
        """Latents (M, latent) of batches that training does not see again (its steps stay far below these numbers)."""
        segments, have, number = self.data.train_segments(), 0, UNSEEN
        while have < self.recipe.start_frames:
            wave = self._whole_batch(segments, number).to(self.fabric.device)
            wave = wave[:, : wave.shape[1] // self.ema.hop * self.ema.hop]
            with self.fabric.autocast():
                found = self.net.module.latents(wave).float().flatten(0, 1)
            yield found
            have, number = have + len(found), number + 1

    def _whole_batch(self, segments: Segments, number: int) -> torch.Tensor:
        """A batch with the parts of all processes."""
        return torch.from_numpy(np.concatenate([segments.batch(number, part) for part in range(self.fabric.world_size)]))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.ema.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _validate(self, record: RunLog) -> None:
        if self.fabric.global_rank or not self.data.valid.clips:
            return
        metrics, audio = validate(self.ema, self.data, self.spectral, self.judges)
        record.scalars("valid", self.step, metrics, next(iter(self.history[self.unlike :]), None))
        record.audio(self.step, audio, self.recipe.data.sample_rate)
        self.history.append({"step": self.step, "hours": round(self.seconds / 3600, 3)} | metrics)
        if metrics["score"] < self.best:
            self.best = metrics["score"]
            self.save(self.folder / "best.safetensors")


def _balancer(recipe: Recipe) -> Balancer:
    loss, adversary = recipe.loss, recipe.adversary
    names = ("mel", "magnitude", "complex", "phase", "envelope", "loudness", "recognition", "words")
    weights = {name: getattr(loss, name) for name in names}
    if adversary.begin < recipe.steps:
        weights |= {"generator": adversary.weight, "feature": adversary.feature_weight}
    return Balancer(weights)


def _listeners(recipe: Recipe, precision: str, device: torch.device) -> dict[str, torch.nn.Module]:
    """The losses that a recogniser hears, by their names."""
    asked = [name for name in ("recognition", "words") if getattr(recipe.loss, name)]
    if not asked:
        return {}
    by = f"loss.{asked[0]}"
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    weights = whisper_weights(by, ("encoder", "decoder") if "words" in asked else ("encoder",))
    try:
        encoder = WhisperEncoder(weights, recipe.data.sample_rate, dtype)
    except ValueError as error:
        raise ConfigError(f"{by}: {error}") from None
    found: dict[str, torch.nn.Module] = {}
    if "recognition" in asked:
        found["recognition"] = Recognition(encoder).to(device)
    if "words" in asked:
        found["words"] = Words(encoder, WhisperDecoder(weights, dtype), WhisperListener(by, recipe.threads)).to(device)
    return found


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the highest learning rate at `step` of a run with the recipe's steps, see `Budget.schedule`."""
    return Budget(recipe).schedule(step)


def revision() -> str:
    """The git revision of the code, `unknown` outside a checkout."""
    try:
        here = Path(__file__).parent
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
