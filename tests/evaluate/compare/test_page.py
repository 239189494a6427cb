"""The plots of a bake-off."""

import itertools
import random
from xml.etree import ElementTree

from mixcodec.evaluate.compare.pareto import OFFLINE, STREAMS, figures_of_tables, front
from mixcodec.evaluate.compare.picture import picture


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


TABLE = """## Equal parameters

| token mixer | n | mel distance ↓ | PESQ-WB ↑ | speed × | state, bytes |
| --- | ---: | ---: | ---: | ---: | ---: |
| near | 24 | 1.500 [1.400, 1.600] | 1.5 [1.4, 1.6] | 100 | 2000 |
| far_off | 24 | 1.600 [1.500, 1.700] | 1.5 [1.4, 1.6] | 90.5 | 1.2e+06 |
| ahead (offline) | 24 | 1.200 [1.100, 1.300] | 1.5 [1.4, 1.6] | 300 | – |
| none | 24 | 1.700 [1.600, 1.800] | 1.5 [1.4, 1.6] | 200 | 0 |

What they mean.

| other | n |
| --- | ---: |
| near | 3 |
"""


def test_a_table_with_marks_is_read_like_one_without(tmp_path):
    found = []
    for text in (TABLE, TABLE.replace("mel distance ↓", "mel distance † ↓").replace("PESQ-WB ↑", "PESQ-WB † ↑")):
        (tmp_path / "table.md").write_text(text)
        found.append(figures_of_tables(tmp_path / "table.md", "mixers"))
    assert found[0] == found[1]


def test_figures_of_tables_hold_their_numbers_and_what_looks_ahead_is_on_no_front(tmp_path):
    (tmp_path / "tables.md").write_text(TABLE)
    ((heading, (speed, state)),) = figures_of_tables(tmp_path / "tables.md", "mixers").items()
    assert heading == "Equal parameters"
    groups = {p["name"]: p["group"] for p in speed["points"]}
    assert groups == {"near": STREAMS, "far_off": STREAMS, "ahead (offline)": OFFLINE, "none": STREAMS}
    assert [(p["x"], p["y"]) for p in speed["points"]] == [(100, 1.5), (90.5, 1.6), (300, 1.2), (200, 1.7)]
    assert speed["points"][0]["plus"] == speed["points"][0]["minus"] == 0.1
    assert speed["front"]["names"] == ["near", "none"]
    assert [(p["name"], p["x"]) for p in state["points"]] == [("near", 2000), ("far_off", 1.2e6), ("none", 1)]
    assert state["front"]["names"] == ["none", "near"]


def test_the_picture_shows_every_dot_where_it_belongs(tmp_path):
    (tmp_path / "tables.md").write_text(TABLE.replace("far_off", "<far>&"))
    root = ElementTree.fromstring(picture(figures_of_tables(tmp_path / "tables.md", "mixers")))
    svg = "{http://www.w3.org/2000/svg}"
    left, right = root.findall(f"{svg}g")
    told = [title.text.split(" mel")[0].rstrip(",") for title in left.iter(f"{svg}title")]
    assert told == ["near", "<far>&", "ahead (offline)", "none"]
    dots = {title.split(" mel")[0]: dot for title, dot in zip(told, [g[1] for g in left.findall(f"{svg}g")], strict=True)}
    assert [dot.tag.removeprefix(svg) for dot in dots.values()] == ["circle", "circle", "rect", "circle"]
    assert float(dots["<far>&"].get("cx")) < float(dots["near"].get("cx")) < float(dots["none"].get("cx"))  # slow to fast
    assert float(dots["near"].get("cy")) > float(dots["<far>&"].get("cy"))  # a small distance lies low
    assert len(left.find(f"{svg}polyline").get("points").split()) == 2
    assert [title.text.split(",")[0] for title in right.iter(f"{svg}title")] == ["near", "<far>&", "none"]
    for dot in left.iter(f"{svg}circle"):
        assert 0 < float(dot.get("cx")) < 560
        assert 0 < float(dot.get("cy")) < 400


def test_nothing_to_draw_is_an_empty_picture():
    assert ElementTree.fromstring(picture({})).tag.endswith("svg")
