"""Batches computed one step ahead, in order, by a thread.

A thread and not a process: a batch costs about a millisecond, nearly all of it in numpy calls that let go of the interpreter,
and a process would have to copy it over."""

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Iterates over (step, batch) from `start` on, without end. Use it in a `with`, or call `close`.

    `batch` is a pure function of the step, such as `Segments.batch`; to resume, start at the step that was to come next.
    What `batch` raises is raised by `next`, at its place in the order."""

    def __init__(self, batch: Callable[[int], T], start: int = 0, depth: int = 4) -> None:
        if start < 0 or depth < 1:
            raise ValueError(f"start {start} and depth {depth}: the one must not be negative, the other positive")
        self._batch = batch
        self._queue: queue.Queue[tuple[int, T | None, BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(start,), name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return self

    def __next__(self) -> tuple[int, T]:
        while not self._stop.is_set():
            try:
                step, batch, error = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if error is not None:
                self.close()
                raise error
            return step, batch  # type: ignore[return-value]
        raise StopIteration

    def close(self) -> None:
        """Ends the thread; what was computed ahead is dropped. A second call does nothing."""
        self._stop.set()
        self._thread.join()
        self._queue.queue.clear()

    def __enter__(self) -> "Prefetcher[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _work(self, step: int) -> None:
        while not self._stop.is_set():
            try:
                item = (step, self._batch(step), None)
            except BaseException as e:
                self._put((step, None, e))
                return
            self._put(item)
            step += 1

    def _put(self, item: tuple[int, T | None, BaseException | None]) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
