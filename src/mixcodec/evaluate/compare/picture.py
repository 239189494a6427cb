"""The fronts of a bake-off as one SVG file, which a README can show: no script, no fonts of its own, the same bytes each time."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mixcodec.evaluate.compare.pareto import CONTROL, OFFLINE, STREAMS, Figure

WIDTH, HEIGHT = 560, 400
"""Of one panel."""
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 46, 46
"""Its margins."""
COLOURS = {CONTROL: "#6d6d6d", OFFLINE: "#cf5300", STREAMS: "#0069a8"}
INK, SOFT, GRID = "#1c1c1c", "#5c5c5c", "#e2e2e2"
LETTER, LINE = 6.0, 12.0
"""About how wide a letter and how high a line of a label is."""
NAMED = 12
"""With more dots, only those on the front have their names beside them."""

Box = tuple[float, float, float, float]


def picture(figures: Mapping[str, Sequence[Figure]]) -> str:
    """One row for each table, one panel for each of its figures. Equal figures give equal text."""
    rows = [(title, each) for title, each in figures.items() if any(figure["points"] for figure in each)]
    wide, high = WIDTH * max((len(each) for _, each in rows), default=1), HEIGHT * max(1, len(rows))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
    ]
    for i, (title, each) in enumerate(rows):
        for j, figure in enumerate(each):
            inner = "\n".join(_panel(title, figure)) if figure["points"] else ""
            parts.append(f'<g transform="translate({j * WIDTH} {i * HEIGHT})">\n{inner}\n</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, figure: Figure) -> list[str]:
    points, best = figure["points"], figure["front"]
    x_low, x_high = _widened(min(math.log10(p["x"]) for p in points), max(math.log10(p["x"]) for p in points))
    y_low, y_high = _widened(min(p["y"] for p in points), max(p["y"] for p in points))

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (math.log10(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    told = f"{figure['title']}: {figure['better']} is better; across: {figure['x_better']} is better"
    told += "; squares look ahead" * any(point["group"] == OFFLINE for point in points)
    parts = [
        _text(LEFT, 20, title[:1].upper() + title[1:], INK, "start", weight="600", size=13),
        _text(LEFT, 36, told, SOFT, "start"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, figure["x_title"], SOFT, "middle"),
    ]
    for value in _log_ticks(x_low, x_high):
        x = at(value, y_low)[0]
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{value:,.0f}" if value >= 1 else f"{value:g}", SOFT, "middle"))
    for value in _ticks(y_low, y_high):
        y = at(10**x_low, value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:g}", SOFT, "end"))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, best["x"], best["y"]))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[STREAMS]}" stroke-dasharray="2 3"/>')
    places = {point["name"]: at(point["x"], point["y"]) for point in points}
    parts += [_dot(point, *places[point["name"]]) for point in points]
    named = [name for name in places if len(points) <= NAMED or name in best["names"]]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places.values()]
    return parts + [_label(name, *places[name], taken) for name in named]


def _dot(point: Mapping[str, Any], x: float, y: float) -> str:
    colour = COLOURS[point["group"]]
    shapes = {
        CONTROL: f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2"/>',
        OFFLINE: f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>',
        STREAMS: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>',
    }
    said = html.escape(html.unescape(point["text"].replace("<br>", ", ").replace("<b>", "").replace("</b>", "")))
    return f"<g><title>{said}</title>{shapes[point['group']]}</g>"


def _label(name: str, x: float, y: float, taken: list[Box]) -> str:
    """The name beside its dot, where it covers least of what is there, and is itself there for those to come."""
    width = LETTER * len(html.unescape(name))
    offered = [(x - width / 2, y - 8), (x + 8, y + 4), (x - width - 8, y + 4), (x - width / 2, y + 16)]
    boxes = [(left, base - LINE, left + width, base) for left, base in offered]

    def cost(box: Box) -> tuple[float, int]:
        outside = max(0.0, LEFT - box[0]) + max(0.0, box[2] - WIDTH + RIGHT)
        return sum(_shared(box, other) for other in taken) + LINE * outside, boxes.index(box)

    best = min(boxes, key=cost)
    taken.append(best)
    return _text(best[0], best[3] - 2, html.unescape(name), INK, "start")


def _shared(a: Box, b: Box) -> float:
    """The area of what two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _text(x: float, y: float, text: str, colour: str, anchor: str, weight: str = "400", size: int = 11) -> str:
    look = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{html.escape(text)}</text>'


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range with room on both sides, and not empty."""
    room = 0.06 * (high - low) or 0.1
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, four to nine of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next(k for k in (5, 2, 1) if (high - low) / (k * step) >= 3)
    return [round(step * i, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range of logarithms: powers of ten alone where it is wide, even steps where it is narrow."""
    if high - low < 0.5:
        return _ticks(10**low, 10**high)
    each = (1,) if high - low > 2 else (1, 1.5, 2, 3, 5, 7)
    values = [k * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for k in each]
    return [value for value in values if low <= math.log10(value) <= high]
