"""What a run says of itself: TensorBoard, and one progress line."""

import sys
import time
from pathlib import Path
from types import TracebackType

import torch
from torch.utils.tensorboard import SummaryWriter

from mixcodec.errors import FileError


class RunLog:
    """Scalars and audio to TensorBoard files in `folder`; to a terminal a live progress bar, else now and then a line."""

    def __init__(self, folder: Path, start: int, total: int, speaks: bool = True) -> None:
        """Silent where it does not `speak`, as in all but the first of several processes."""
        self._speaks = speaks
        self._live = speaks and sys.stderr.isatty()
        self._done, self._total = start, total
        self._since, self._first = time.monotonic(), start
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

    def __enter__(self) -> "RunLog":
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._bar.stop()
        if self._speaks:
            self._writer.close()

    def advance(self) -> None:
        self._done += 1
        if self._live:
            self._bar.advance(self._task)

    def scalars(self, group: str, step: int, values: dict[str, float]) -> None:
        if not self._speaks:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        line = " ".join(f"{name} {value:.3g}" for name, value in values.items())
        if self._live and group == "train":
            self._bar.update(self._task, description=line)
        elif self._live:
            self._bar.console.print(f"{group} at step {step}: {line}")
        else:
            pace = (time.monotonic() - self._since) / max(1, step - self._first)
            print(f"{group} {step}/{self._total} {line} ({pace:.2f} s a step)", file=sys.stderr, flush=True)

    def audio(self, step: int, waves: dict[str, torch.Tensor], sample_rate: int) -> None:
        for name, wave in waves.items():
            self._writer.add_audio(f"valid/{name}", wave[None].clamp(-1, 1), step, sample_rate)
