import itertools
import threading
import time

import pytest

from mixcodec.data import Prefetcher


def test_batches_come_in_order_from_the_start_given() -> None:
    with Prefetcher(lambda step: step * step, start=5, depth=2) as batches:
        assert list(itertools.islice(batches, 50)) == [(i, i * i) for i in range(5, 55)]


def test_a_resumed_run_sees_what_the_run_that_went_on_sees() -> None:
    def take(start: int, count: int) -> list[tuple[int, int]]:
        with Prefetcher(lambda step: hash((7, step)), start) as batches:
            return list(itertools.islice(batches, count))

    assert take(0, 10) + take(10, 10) == take(0, 20)


def test_it_works_ahead_but_not_without_bound() -> None:
    done: list[int] = []
    with Prefetcher(lambda step: done.append(step), depth=3):
        deadline = time.monotonic() + 10
        while len(done) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert done == [0, 1, 2, 3]  # three that wait, one that has no room yet


def test_an_error_arrives_in_its_place() -> None:
    def batch(step: int) -> int:
        if step == 3:
            raise ZeroDivisionError("at three")
        return step

    with Prefetcher(batch) as batches:
        assert [next(batches)[0] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError, match="at three"):
            next(batches)
        with pytest.raises(StopIteration):
            next(batches)


def test_close_ends_the_thread_and_may_be_repeated() -> None:
    before = threading.active_count()
    batches = Prefetcher(lambda step: step)
    next(batches)
    batches.close()
    batches.close()
    assert threading.active_count() == before
    assert list(batches) == []


@pytest.mark.parametrize("options", [{"start": -1}, {"depth": 0}])
def test_impossible_settings_are_errors(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Prefetcher(lambda step: step, **options)
