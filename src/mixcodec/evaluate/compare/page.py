"""The page of a bake-off: one HTML file with the plots of quality against cost and all tables, in the dress of the report.

It holds its style, its script and Plotly, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template

from mixcodec.evaluate.compare import tables
from mixcodec.evaluate.compare.pareto import Figure, pareto_figures
from mixcodec.evaluate.compare.run import Comparison
from mixcodec.evaluate.report.markup import COLOURS, escape, safe_json, table_html

REPORT = "mixcodec.evaluate.report"


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
            "Whiskers: 95 % over clips. The line joins what nothing else beats in both. Squares look ahead, crosses are "
            "controls: neither is on it."
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
