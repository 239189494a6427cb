"""How many steps a run has, and how far its schedule is: a number that the recipe gives, or as many as fit into some hours.

The steps of a budget are chosen once the first steps have shown how long one takes, and chosen again where the machine turns out
to be faster or slower than that. The schedule never jumps: from where it is it is laid over what is left. What was chosen is
stored with the checkpoint, so a run that goes on does what it would have done.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mixcodec.train.recipe import Recipe

FEW, MANY, SECONDS = 8, 48, 20.0
"""Steps are timed until there are MANY, or FEW that took so many seconds."""
CHECKS = 24
"""The end is looked at so many times on the way."""
OFF = 0.02
"""Share of the budget by which it may be missed."""


class Leg(NamedTuple):
    """A part of the schedule: from `step` on, where the share `done` of it is done, until all is at step `end`."""

    step: int
    done: float
    end: int | None
    """None while it is not known; the schedule then waits."""


class Budget:
    """The plan of one run. Without hours in the recipe it is the recipe's number of steps, and never changes."""

    def __init__(self, recipe: Recipe, legs: Sequence[Sequence[float | None]] = (), step: int = 0, used: float = 0.0) -> None:
        """A new run's, or that of a run at `step` which has `used` so many seconds.

        Args:
            recipe: what was asked for; its hours are all that the run may take, those that it has had among them.
            legs: of the run's checkpoint, if it has the same hours; else the rest of the schedule is planned anew.
        """
        self.recipe = recipe
        self.seconds = 3600 * recipe.hours
        self.tail = 0.0
        """Seconds that the end of the run takes: to validate and to save."""
        self.legs = [Leg(int(leg[0] or 0), float(leg[1] or 0), None if leg[2] is None else int(leg[2])) for leg in legs]
        if self.seconds and not self.legs:
            self.legs = [Leg(step, min(1.0, used / self.seconds), step if used >= self.seconds else None)]
        self._mark: tuple[int, float] | None = None
        self._check = 0

    @classmethod
    def resumed(cls, recipe: Recipe, meta: Mapping[str, Any]) -> "Budget":
        """That of the run whose checkpoint has `meta`, as `recipe` now asks for it."""
        same = recipe.hours == meta["recipe"].get("hours", 0.0)
        return cls(recipe, meta.get("plan", ()) if same else (), meta["step"], meta.get("used", meta["seconds"]))

    @property
    def end(self) -> int | None:
        """The last step; None while a budget's is not known."""
        return self.legs[-1].end if self.legs else self.recipe.steps

    def schedule(self, step: int) -> float:
        """Share of the highest learning rate at `step`: linear warm-up, then a cosine down to the floor."""
        recipe = self.recipe
        rise = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
        return rise * (recipe.lr_floor + (1 - recipe.lr_floor) * 0.5 * (1 + math.cos(math.pi * self.done(step))))

    def done(self, step: int) -> float:
        """Share of the way from warm-up to floor, from 0 to 1."""
        if not self.legs:
            warmup = self.recipe.warmup
            return min(1.0, max(0, step - warmup) / max(1, self.recipe.steps - warmup))
        leg = next((leg for leg in reversed(self.legs) if leg.step <= step), Leg(step, 0.0, None))
        if leg.end is None:
            return leg.done
        return min(1.0, leg.done + (1 - leg.done) * (step - leg.step) / max(1, leg.end - leg.step))

    def seen(self, step: int, used: float) -> bool:
        """Notes that `step` steps are done after so many seconds; whether the end of the run has been chosen, or chosen anew."""
        if not self.seconds or self.end == step:
            return False
        if used + self.tail >= self.seconds:
            self.legs.append(Leg(step, self.done(step), step))
            return True
        if self._mark is None:  # the first step of a process takes longer than the others
            self._mark = (step, used)
            return False
        steps, took = step - self._mark[0], used - self._mark[1]
        if self.end is None:
            if steps >= MANY or (steps >= FEW and took >= SECONDS):
                self._lay(step, used, took / steps)
                return True
            return False
        if step < self._check:
            return False
        self._check = step + max(1, (self.end - step) // CHECKS)
        expected = used + (self.end - step) * took / steps + self.tail
        if abs(expected - self.seconds) < OFF * self.seconds:
            return False
        self._lay(step, used, took / steps)
        return True

    def _lay(self, step: int, used: float, pace: float) -> None:
        """Lays what is left of the schedule over the steps that are left, of `pace` seconds each."""
        end = step + max(1, int((self.seconds - used - self.tail) / max(pace, 1e-6)))
        start = max(step, min(self.recipe.warmup, end // 10))
        self.legs.append(Leg(start, self.done(step), end))
        self._check = step + max(1, (end - step) // CHECKS)
