"""The page of a bake-off: one HTML file with the plots of quality against cost and all tables, in the dress of the report.

It holds its style, its script and Plotly, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Callable, Sequence
from importlib import resources
from string import Template
from typing import Any

from mixcodec.evaluate.compare import tables
from mixcodec.evaluate.compare.rows import Row
from mixcodec.evaluate.compare.run import Comparison
from mixcodec.evaluate.compare.tables import SCALES, codec_speed, fact
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.evaluate.metrics.base import Scale
from mixcodec.evaluate.report.markup import COLOURS, escape, safe_json, table_html
from mixcodec.evaluate.statistics import mean_estimate

REPORT = "mixcodec.evaluate.report"
Figure = dict[str, Any]


class Axis:
    """A cost that quality is drawn against: how to call it, how to read it off the rows, and whether more is better."""

    def __init__(self, title: str, of: Callable[[Sequence[Row]], float | None], more_is_better: bool) -> None:
        self.title, self.of, self.more_is_better = title, of, more_is_better


def _times(name: str, unit: float) -> Callable[[Sequence[Row]], float | None]:
    def read(rows: Sequence[Row]) -> float | None:
        value = fact(rows, name)
        return None if value is None else value * unit

    return read


def _state(rows: Sequence[Row]) -> float | None:
    value = fact(rows, "state_bytes")
    return None if value is None else max(value, 1.0)


AXES: dict[str, tuple[Axis, ...]] = {
    "quantizers": (
        Axis("encoding, × real time", _times("encode_x", 1), True),
        Axis("parameters of the quantizer, thousands", _times("quantizer_parameters", 1e-3), False),
    ),
    "recipes": (
        Axis("coded kbps", lambda rows: tables.kbps(rows, "coded_bits"), False),
        Axis("a step of training, s of the processor", _times("train_cpu_seconds_a_step", 1), False),
    ),
    "mixers": (
        Axis("speed, × real time", codec_speed, True),
        Axis("state of the stream, bytes (none is drawn as 1)", _state, False),
    ),
}


def front(points: Sequence[tuple[float, float]], more_x: bool, more_y: bool) -> list[int]:
    """The indices of the points that no other point beats in both, by x."""
    signed = [(x if more_x else -x, y if more_y else -y) for x, y in points]
    kept = [i for i, p in enumerate(signed) if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in signed)]
    return sorted(kept, key=lambda i: points[i])


def pareto_figures(comparison: Comparison, group: str) -> list[Figure]:
    """Mel distance and PESQ against each cost; controls are drawn, but on no front."""
    found = tables.trained(comparison, group)
    return [_figure(comparison, found, scale, axis) for axis in AXES[comparison.part] for scale in SCALES[:2]]


def _figure(comparison: Comparison, found: Sequence[Variant], scale: Scale, axis: Axis) -> Figure:
    points: list[dict[str, Any]] = []
    places: dict[str, tuple[float, float]] = {}
    for variant in found:
        rows = comparison.of(variant)
        quality, cost = mean_estimate(list(tables.means(rows, scale).values())), axis.of(rows)
        if cost is None or not quality.n or not math.isfinite(cost):
            continue
        interval = f"[{quality.low:.{scale.digits}f}, {quality.high:.{scale.digits}f}]"
        name = html.escape(variant.name + variant.mark)
        points.append(
            {
                "name": name,
                "x": _short(cost),
                "y": _short(quality.mean),
                "plus": _short(quality.high - quality.mean),
                "minus": _short(quality.mean - quality.low),
                "text": f"<b>{name}</b><br>{scale.title} {quality.mean:.{scale.digits}f} {interval}<br>{axis.title}: {cost:.3g}",
                "group": 0 if variant.control else 1 if not variant.streams else 2,
            }
        )
        if not variant.control:
            places[name] = _short(cost), _short(quality.mean)
    names = list(places)
    best = [names[i] for i in front(list(places.values()), axis.more_is_better, scale.higher_is_better)]
    return {
        "title": scale.title,
        "better": "higher" if scale.higher_is_better else "lower",
        "x_title": axis.title,
        "x_better": "more" if axis.more_is_better else "less",
        "points": points,
        "front": {"x": [places[name][0] for name in best], "y": [places[name][1] for name in best], "names": best},
    }


def page_html(comparison: Comparison) -> str:
    """The whole page. Equal rows give equal text."""
    from plotly.offline import get_plotlyjs

    figures: list[Figure] = []
    sections = []
    for number, group in enumerate(tables.groups(comparison)):
        mine = pareto_figures(comparison, group)
        plots = "".join(_plot_html(figure, len(figures) + i) for i, figure in enumerate(mine))
        figures += mine
        inner = table_html(tables.group_table(comparison, group), {}, heading=False)
        difference = tables.difference_table(comparison, group)
        inner += table_html(difference, {}) if difference else ""
        legend = (
            "Whiskers: 95 % over clips. The line joins what nothing else beats in both. Squares look ahead, crosses are controls."
        )
        inner = f'<div class="plots">{plots}</div><p class="note">{legend}</p>{inner}'
        sections.append((f"group-{number}", group[0].upper() + group[1:], inner))
    failures = tables.failure_table(comparison)
    nothing = '<p class="note">Every kind was trained and scored.</p>'
    sections.append(("failures", "Not measured", table_html(failures, {}, heading=False) if failures else nothing))
    sections.append(("about", "How it was made", table_html(tables.about_table(comparison), {}, heading=False)))
    scripts = [get_plotlyjs().replace("\r\n", "\n"), resources.files(__package__).joinpath("compare.js").read_text("utf-8")]
    body = "".join(f'<section id="{name}"><h2>{escape(title)}</h2>{inner}</section>' for name, title, inner in sections)
    about = comparison.about
    command = f'<pre class="command"><code>{escape(str(about["command"]))}</code></pre>' if about["command"] else ""
    facts = [
        f"{len(comparison.variants)} variants",
        f"{about['steps']} steps each",
        f"{about['clips']} clips",
        str(about["date"]),
    ]
    return Template(_report("page.html")).substitute(
        title=f"Comparison of {comparison.part}",
        policy=_policy(scripts),
        style=_report("page.css"),
        summary=escape(" · ".join(facts)),
        command=command,
        alarm=f'<p class="alarm"><a href="#failures">{len(failures.rows)} not measured</a></p>' if failures else "",
        links="".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections),
        body=body,
        figures=safe_json({"pareto": figures, "colours": COLOURS}),
        media="{}",
        plotly=scripts[0],
        script=scripts[1],
    )


def _report(name: str) -> str:
    return resources.files(REPORT).joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def _plot_html(figure: Figure, index: int) -> str:
    head = f"<h3>{escape(figure['title'])} <small>{figure['better']} is better, and {figure['x_better']} to the side</small></h3>"
    return f'<div class="plot">{head}<div class="graph" data-index="{index}"></div></div>'


def _short(value: float) -> float:
    return float(f"{value:.6g}")
