"""What became of a recipe between two parts of one run: what is taken, what is refused, and that it is said.

A run is resumed by the same command. Where the recipe is another one by then, each field that differs is of one of three sorts:
how the run is carried out (taken), how it learns (taken from that step on, and kept with the checkpoint, so that the model's card
can tell), and what is learned from what (refused: the weights are of the former).
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mixcodec.errors import ConfigError
from mixcodec.train.budget import Budget
from mixcodec.train.checkpoint import load_meta
from mixcodec.train.precision import AUTO
from mixcodec.train.recipe import Recipe

RUN = {"name", "out", "steps", "hours", "log_every", "validate_every", "save_every"}
RUN |= {"threads", "accelerator", "compile", "precision", "judges"}
RUN |= {f"data.{name}" for name in ("root", "cache_dir", "processes", "validation_batches")}
"""Fields of how a run is carried out. Whether the audio under another `data.root` is the same, its manifest tells."""

LEARNING = {"lr", "lr_floor", "warmup", "betas", "weight_decay", "clip", "ema", "codebooks_from", "start_frames", "dropout"}
LEARNING |= {"usual_codebooks", "devices"}
LEARNING |= {f"data.{name}" for name in ("segment_seconds", "batch_size", "balance")}
LEARNING |= {f"data.{name}_{end}" for name in ("level", "speed") for end in ("low", "high")}
LEARNING |= {f"data.p_{name}" for name in ("flip", "noise", "room", "lowpass")}
"""Fields of how a run learns, with all in LEARNING_SECTIONS but what the weights or the balancer are made for, KEPT."""
LEARNING_SECTIONS = ("loss.", "adversary.", "teacher.")
KEPT = ("loss.balanced", "adversary.discriminator")

MOST = 4
"""So many fields are named in one line."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One field, by its path with dots, and its values before and now."""

    field: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.field} ({_short(self.before)} before, now {_short(self.now)})"


@dataclasses.dataclass(frozen=True)
class Resumed:
    """How a run goes on."""

    taken: tuple[Change, ...] = ()
    """How it is carried out from here on."""
    learns: tuple[Change, ...] = ()
    """How it learns from here on."""

    def notes(self, step: int) -> list[str]:
        """What there is to say of a run that goes on from `step`."""
        lines = [f"goes on from step {step}"]
        if self.taken:
            lines.append(f"taken: {_listed(self.taken)}")
        if self.learns:
            lines.append(f"taken from step {step} on: {_listed(self.learns)}; the checkpoint keeps what it was before")
        return lines


def resumed(recipe: Recipe, meta: Mapping[str, Any]) -> Resumed:
    """What `recipe` changes in the run that the checkpoint of `meta` is of.

    Raises ConfigError, in one line that names the fields and what to do, where it changes what a run can't change.
    """
    taken, learns, fixed = [], [], []
    for change in _changes(dict(meta["recipe"]), recipe, meta):
        if change.field == "initial":
            if recipe.initial and not _same(change.before, recipe.initial):
                fixed.append(change)
        elif change.field in RUN:
            taken.append(change)
        elif change.field in LEARNING or (change.field.startswith(LEARNING_SECTIONS) and not change.field.startswith(KEPT)):
            learns.append(change)
        else:
            fixed.append(change)
    if fixed:
        raise ConfigError(_refusal(recipe, _listed(fixed)))
    return Resumed(tuple(taken), tuple(learns))


def check_audio(recipe: Recipe, meta: Mapping[str, Any], changes: Resumed, manifest_hash: str) -> None:
    """Raises ConfigError where another `data.root` holds other audio than the run began with."""
    roots = [change for change in changes.taken if change.field == "data.root"]
    if roots and manifest_hash != meta["manifest"]:
        raise ConfigError(_refusal(recipe, f"{roots[0]}, which holds other audio"))


def _refusal(recipe: Recipe, others: str) -> str:
    last = recipe.folder / "last.safetensors"
    advice = f"choose another out=, where --initial {last} begins with its weights"
    return f"{recipe.folder} holds a run already, with another {others}; a run keeps what it began with: {advice}"


def kept_changes(meta: Mapping[str, Any], changes: Resumed) -> list[dict[str, Any]]:
    """Former changes of how a run learns, and those of now: what each checkpoint holds as `changes`."""
    now = {"step": meta["step"], "fields": {change.field: [change.before, change.now] for change in changes.learns}}
    return [*meta.get("changes", []), *([now] if changes.learns else [])]


def finished(recipe: Recipe) -> str | None:
    """What there is to say where the run in the recipe's folder has come to its end; None where there is something to do.

    Raises ConfigError as `resumed` does.
    """
    path = recipe.folder / "last.safetensors"
    if not path.exists():
        return None
    meta = load_meta(path)
    step, changes, end = meta["step"], resumed(recipe, meta), Budget.resumed(recipe, meta).end
    if end is None or step < end:
        return None
    asked, more = f"steps={recipe.steps}", f"steps={2 * max(step, recipe.steps)}"
    if recipe.hours:
        asked, more = f"hours={recipe.hours:g}", f"hours={2 * recipe.hours:g}"
    told = f"the run in {recipe.folder} is finished: it has {step} steps, and {asked} asks for no more"
    ignored = [change for change in (*changes.taken, *changes.learns) if change.field not in ("steps", "hours")]
    if ignored:
        told += f"; ignored, for nothing is left to do: {_listed(ignored)}"
    return f"{told}. To go on give more, such as {more}; to begin anew, another out="


def _changes(before: dict[str, Any], recipe: Recipe, meta: Mapping[str, Any]) -> list[Change]:
    """Fields that both have and that differ; `auto` precision is whatever the run has."""
    before.setdefault("initial", "")
    now = json.loads(json.dumps(recipe.as_dict()))
    before["precision"] = meta.get("precision", before.get("precision"))
    if recipe.precision == AUTO:
        now["precision"] = before["precision"]
    return list(_differences(before, now))


def _differences(before: Any, now: Any, path: str = "") -> Iterator[Change]:
    """Leaf by leaf; a field that a former version did not know has no value before, and is no difference."""
    if isinstance(before, dict) and isinstance(now, dict):
        inside_part = path.startswith(("codec", "adversary.discriminator"))
        for name in [*before, *(name for name in now if name not in before and inside_part)]:
            if name in now or inside_part:
                yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now) and any(isinstance(n, dict) for n in now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{path}.{place}")
    elif before != now:
        yield Change(path, before, now)


def _same(one: Any, other: str) -> bool:
    return bool(one) and (one == other or Path(one).resolve() == Path(other).resolve())


def _listed(changes: list[Change] | tuple[Change, ...]) -> str:
    shown = ", ".join(map(str, changes[:MOST]))
    return shown + (f" and {len(changes) - MOST} more" if len(changes) > MOST else "")


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
