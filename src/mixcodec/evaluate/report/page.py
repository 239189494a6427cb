"""The page: one HTML file that holds its style, its script, Plotly, the sounds and the pictures, and loads nothing.

A content security policy in its head says so to the browser: no connection anywhere, and no script but the two whose
hashes it names, so that not even a hostile name that slipped through could run.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from string import Template

from mixcodec.evaluate.report import tables
from mixcodec.evaluate.report.figures import MOST_DOTS, Figure, rate_figures, spread_figures
from mixcodec.evaluate.report.findings import Findings
from mixcodec.evaluate.report.listening import Listening
from mixcodec.evaluate.report.markup import COLOURS, colour, escape, safe_json, table_html
from mixcodec.evaluate.report.media import Store
from mixcodec.evaluate.report.players import listening_html
from mixcodec.evaluate.results import Results

TITLE = "Codec evaluation"


def page_html(results: Results, listening: Listening) -> str:
    """The whole page. Equal results and sounds give equal text."""
    from plotly.offline import get_plotlyjs

    findings = Findings(results)
    colours = {point: colour(findings.codecs.index(findings.codec_of[point])) for point in findings.points}
    store = Store()
    players = listening_html(findings, listening, store, colours)  # fills the store
    rates, spreads = rate_figures(findings), spread_figures(findings)
    scripts = [get_plotlyjs().replace("\r\n", "\n"), _part("page.js")]
    sections = {
        "rates": ("Rate and quality", _rates_html(findings, rates)),
        "points": ("All operating points", table_html(tables.point_table(findings), colours, heading=False)),
        "listen": ("Listen", players),
        "differences": ("Differences", _differences_html(findings, colours)),
        "spread": ("Spread over clips", _spread_html(spreads)),
        "groups": ("Languages and speakers", _groups_html(findings, colours)),
        "codebooks": ("Codebook use", _optional(tables.codebook_table(findings), colours, "No codec here shows its codes.")),
        "failures": ("Failures", _optional(tables.failure_table(findings), colours, "Every clip was coded and has every score.")),
        "about": ("How it was made", _about_html(findings, colours)),
    }
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{inner}</section>' for name, (title, inner) in sections.items())
    return Template(_part("page.html")).substitute(
        title=TITLE,
        policy=_policy(scripts),
        style=_part("page.css"),
        summary=escape(" · ".join(_facts(findings))),
        command=_command_html(findings),
        alarm=_alarm_html(findings),
        links="".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in sections.items()),
        body=body,
        figures=safe_json({"rate": rates, "spread": spreads, "colours": COLOURS}),
        media=safe_json(store.uris),
        plotly=scripts[0],
        script=scripts[1],
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    kept = "style-src 'unsafe-inline'; img-src data: blob:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {hashes}; {kept}"


def _facts(findings: Findings) -> list[str]:
    about = findings.results.about
    facts = [_counted(len(findings.clips), "clip"), f"{findings.seconds:.0f} s of sound"]
    if rate := about.get("sample_rate"):
        facts.append(f"{rate / 1000:g} kHz")
    facts += [_counted(len(findings.points), "operating point"), _counted(len(findings.codecs), "codec")]
    return [*facts, str(about["date"])] if about.get("date") else facts


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _command_html(findings: Findings) -> str:
    command = findings.results.about.get("command")
    return f'<pre class="command"><code>{escape(str(command))}</code></pre>' if command else ""


def _alarm_html(findings: Findings) -> str:
    failures = findings.failures()
    if not failures:
        return ""
    coding = sum(f.what == "codec" for f in failures)
    clips = len({f.clip for f in failures if f.what == "codec"})
    told = [f"{_counted(clips, 'clip')} not coded ({_counted(coding, 'coding')})"] if coding else []
    told += [_counted(len(failures) - coding, "score") + " missing"] if len(failures) > coding else []
    return f'<p class="alarm"><a href="#failures">{" and ".join(told)}</a>: in no mean, each with its reason.</p>'


def _rates_html(findings: Findings, figures: list[Figure]) -> str:
    keys = "".join(
        f'<button type="button" class="key {colour(i)}" data-codec="{i}" aria-pressed="true">'
        f'<i class="dot"></i>{escape(codec)}</button>'
        for i, codec in enumerate(findings.codecs)
    )
    plots = "".join(
        _plot_html(figure, "rate", i, f"Not drawn, far off: {'; '.join(figure['left_off'])}." if figure["left_off"] else "")
        for i, figure in enumerate(figures)
    )
    note = (
        "Mean over clips with its 95 % bootstrap interval, over the real bits of whole files (logarithmic). Dashed: what lies "
        "far off the axis of rates. A codec's name above takes it off the plots, and back."
    )
    legend = f'<div class="keys" role="group" aria-label="Codecs">{keys}</div>'
    return f'{legend}<div class="plots">{plots}</div><p class="note">{note}</p>'


def _spread_html(figures: list[Figure]) -> str:
    plots = "".join(_plot_html(figure, "spread", i, "") for i, figure in enumerate(figures))
    note = (
        "Each violin is the distribution over clips, as wide as there are many; inside it median and quartiles; the diamond is "
        "the mean. Fewer than four clips are dots."
    )
    if any(figure["sampled"] for figure in figures):
        note += f" Of larger sets, {MOST_DOTS} clips drawn at random with a fixed seed; the mean is of all."
    return f'<div class="plots">{plots}</div><p class="note">{note}</p>'


def _plot_html(figure: Figure, kind: str, index: int, below: str) -> str:
    unit = f", {escape(figure['unit'])}" if figure["unit"] else ""
    head = f"<h3>{escape(figure['title'])}{unit} <small>{figure['better']} is better</small></h3>"
    foot = f'<p class="below">{escape(below)}</p>' if below else ""
    return f'<div class="plot">{head}<div class="graph" data-kind="{kind}" data-index="{index}"></div>{foot}</div>'


def _differences_html(findings: Findings, colours: dict[str, str]) -> str:
    parts = []
    if nearest := tables.nearest_table(findings):
        parts.append(table_html(nearest, colours))
    if pairs := tables.pair_tables(findings):
        panels = {baseline: table_html(table, colours, heading=False) for baseline, table in pairs.items()}
        parts.append("<h3>Against one operating point</h3>" + _choice_html("baseline", "Every point minus", panels))
    if curves := tables.bd_table(findings):
        parts.append(table_html(curves, colours))
    return "".join(parts) or '<p class="note">One operating point has nothing to be compared with.</p>'


def _groups_html(findings: Findings, colours: dict[str, str]) -> str:
    panels = {}
    for scale in findings.scales:
        found = [tables.breakdown_table(findings, by, scale) for by in tables.GROUPS]
        if any(found):
            panels[scale.marked] = "".join(table_html(table, colours) for table in found if table)
    if not panels:
        return '<p class="note">Nothing is known of the languages and the speakers of these clips.</p>'
    return _choice_html("group-scale", "Scale", panels)


def _choice_html(name: str, label: str, panels: dict[str, str]) -> str:
    options = "".join(f'<option value="{i}">{escape(title)}</option>' for i, title in enumerate(panels))
    shown = "".join(f'<div class="panel"{" hidden" if i else ""}>{inner}</div>' for i, inner in enumerate(panels.values()))
    return f'<p class="choice"><label>{label} <select id="{name}" data-panels>{options}</select></label></p><div>{shown}</div>'


def _optional(table: tables.Table | None, colours: dict[str, str], otherwise: str) -> str:
    return table_html(table, colours, heading=False) if table else f'<p class="note">{otherwise}</p>'


def _about_html(findings: Findings, colours: dict[str, str]) -> str:
    delays = tables.delay_table(findings)
    facts = table_html(tables.about_table(findings), colours, heading=False)
    return f"{_command_html(findings)}{facts}{table_html(delays, colours) if delays else ''}"
