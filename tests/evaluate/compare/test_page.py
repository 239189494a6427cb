"""The plots of a bake-off."""

import itertools
import random

from mixcodec.evaluate.compare.page import front


def test_the_front_is_what_nothing_else_beats_in_both():
    generator = random.Random(1)
    for more_x, more_y in itertools.product((True, False), repeat=2):
        points = [(generator.randint(0, 9), generator.randint(0, 9)) for _ in range(30)]
        found = set(front(points, more_x, more_y))
        for i, (x, y) in enumerate(points):
            beaten = any(
                (u >= x if more_x else u <= x) and (v >= y if more_y else v <= y) and (u, v) != (x, y) for u, v in points
            )
            assert (i in found) == (not beaten)


def test_the_front_is_drawn_from_left_to_right():
    points = [(3.0, 1.0), (1.0, 0.0), (2.0, 0.5)]
    assert front(points, more_x=False, more_y=True) == [1, 2, 0]
