"""What a run says of itself: TensorBoard, and a progress bar or now and then a line."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch
from torch.utils.tensorboard import SummaryWriter

from mixcodec.errors import FileError

LINE_SECONDS, FIRST_SECONDS = 30.0, 10.0
"""Between two lines where there is no terminal, and until the first."""
FEW, MANY = 4, 20
"""Steps that are timed before the log says how long the run will take: a few slow ones, or more."""
SHOWN = ("loss", "mel")
"""Of the numbers of training: what a line says. All are in TensorBoard's files."""
NEWS = 0.1
"""By such a share the number of steps must change to be said again."""
SMOOTH = 0.9
"""What a line says of a loss is a moving average over what was logged."""


class RunLog:
    """Scalars and audio to TensorBoard files in `folder`; to a terminal a live progress bar, else now and then a line."""

    def __init__(self, folder: Path, start: int, total: int | None, speaks: bool = True, within: str = "") -> None:
        """Silent where it does not `speak`, as in all but the first of several processes; `total` is None while not known.

        `within` names the precision that its steps are computed in.
        """
        self._speaks = speaks
        self._live = speaks and sys.stderr.isatty() and sys.stdout.isatty()
        self._done, self._total = start, total
        self._said: int | None = total
        self._since, self._first = self.clock(), start  # of the first step that is timed: the one before takes longer
        self._next = self._since + FIRST_SECONDS
        self._timed = self._told = False
        self._within = f" in {within}" if within else ""
        self._score = ""
        self._now: dict[str, float] = {}
        if not speaks:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder), purge_step=start)
        except OSError as error:
            raise FileError(f"{folder}: cannot be written ({error.strerror}); choose another out=") from None
        if self._live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, transient=False)
            self._task = self._bar.add_task("", total=total, completed=start)

    @staticmethod
    def clock() -> float:
        """Seconds."""
        return time.monotonic()

    def __enter__(self) -> "RunLog":
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._bar.stop()
        if self._speaks:
            self._writer.close()

    def say(self, line: str) -> None:
        """A line by itself."""
        if self._live:
            self._bar.console.print(line, markup=False, highlight=False)
        elif self._speaks:
            print(line, file=sys.stderr, flush=True)

    def until(self, total: int, line: str) -> None:
        """The run is to have so many steps: says the line where that is news."""
        if self._said is None or abs(total - self._said) > NEWS * self._said:
            self._said = total
            self.say(line)
        self._total = total
        if self._live:
            self._bar.update(self._task, total=total)

    def advance(self) -> None:
        """Another step is done."""
        self._done += 1
        if self._done == self._first + 1 and not self._timed:
            self._since, self._first, self._timed = self.clock(), self._done, True
        steps, took = self._done - self._first, self.clock() - self._since
        if self._timed and not self._told and steps >= FEW and (took >= FIRST_SECONDS or steps >= MANY):
            self._told = True
            whole = f": the {self._total} steps take about {spoken(took / steps * self._total)}" if self._total else ""
            self.say(f"{took / steps:.2g} s a step{self._within}{whole}")
        if self._live:
            self._bar.advance(self._task)

    def due(self) -> bool:
        """Whether it is time for a line."""
        return self._speaks and self.clock() >= self._next

    def scalars(self, group: str, step: int, values: dict[str, float], first: Mapping[str, float] | None = None) -> None:
        """Writes the numbers of a group, train or valid; says those of validation, and those of training when it is time.

        `first` holds the numbers of the run's first validation, and its step.
        """
        if not self._speaks:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        if group != "train":
            if "score" in values:
                before = "" if first is None or first is values else f" ({first['score']:.3g} at step {first['step']:.0f})"
                self._score = f"score {values['score']:.3g} at step {step}{before}"
            self.say(f"{group} at step {step}: {' '.join(f'{name} {value:.3g}' for name, value in values.items())}")
            return
        for name in SHOWN:
            if name in values:
                self._now[name] = SMOOTH * self._now.get(name, values[name]) + (1 - SMOOTH) * values[name]
        if self._live:
            self._bar.update(self._task, description=self._progress())
        elif self.due() or step == self._total:
            self._next = self.clock() + LINE_SECONDS
            of = "" if self._total is None else f" of {self._total}"
            self.say(f"step {step}{of}: {self._pace(step)}; {self._progress()}")

    def audio(self, step: int, waves: dict[str, torch.Tensor], sample_rate: int) -> None:
        if not self._speaks:
            return
        for name, wave in waves.items():
            self._writer.add_audio(f"valid/{name}", wave[None].clamp(-1, 1), step, sample_rate)

    def _pace(self, step: int) -> str:
        pace = (self.clock() - self._since) / max(1, step - self._first)
        left = "" if self._total is None else f", {spoken(pace * (self._total - step))} left"
        return f"{pace:.2g} s a step{left}"

    def _progress(self) -> str:
        losses = ", ".join(f"{name} {value:.3g}" for name, value in self._now.items())
        return f"{losses}; {self._score}" if self._score else losses


def spoken(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 2 h 05 min."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
