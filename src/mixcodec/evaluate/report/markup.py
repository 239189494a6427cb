"""Tables and data as HTML. Whatever comes from a file name or a command line is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from mixcodec.evaluate.report.tables import Cell, Column, Mean, Table, own_n, row_n

COLOURS = 8
"""Colours of codecs in page.css, c0 to c7; they come round again where there are more."""
VERDICTS = {"better": "▲", "worse": "▼"}


def escape(text: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(text, quote=True)


def safe_json(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def colour(index: int) -> str:
    """The class that gives an element the colour of the codec `index`."""
    return f"c{index % COLOURS}"


def point_html(point: str, colours: Mapping[str, str]) -> str:
    """The name of an operating point with the dot of its codec; it may be broken where its model begins."""
    first, colon, rest = point.partition(":")
    start = f'<span class="start"><i class="dot"></i>{escape(first + colon)}</span>'
    return f'<span class="point {colours.get(point, "")}">{start}<wbr>{escape(rest)}</span>'


def table_html(table: Table, colours: Mapping[str, str], heading: bool = True) -> str:
    """A table with its title and its note; `colours` has the class of each operating point."""
    titles = [f'<th scope="col" class="{c.kind}"{_hint(c)}>{_title(c, colours)}</th>' for c in table.columns]
    if table.has_means:
        titles.insert(table.first_mean, '<th scope="col" class="number" title="clips">n</th>')
    head = "".join(titles)
    body = "".join(_row_html(row, table, colours) for row in table.rows)
    title = f"<h3>{escape(table.title)}</h3>" if heading else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
    return f"{title}{frame}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"


def _row_html(row: list[Cell], table: Table, colours: Mapping[str, str]) -> str:
    n = row_n(row)
    cells = []
    for i, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
        if isinstance(cell, Mean):
            cells.append(_mean_html(cell, n))
            continue
        inner = point_html(cell, colours) if column.kind == "point" else escape(cell)
        cells.append(
            f'<th scope="row" class="{column.kind}">{inner}</th>' if not i else f'<td class="{column.kind}">{inner}</td>'
        )
    if table.has_means:
        cells.insert(table.first_mean, f'<td class="number count">{n}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _mean_html(cell: Mean, n: int) -> str:
    found = cell.estimate
    if not found.n:
        return f'<td class="number mean" data-n="0">{cell.value}</td>'
    data = "".join(
        f' data-{name}="{value!r}"' for name, value in (("mean", found.mean), ("low", found.low), ("high", found.high))
    )
    mark = f'<span class="verdict" title="{cell.verdict}">{VERDICTS[cell.verdict]}</span> ' if cell.verdict else ""
    other = own_n(cell, n)
    extra = f', <span class="own-n">{other}</span>' if other else ""
    number, interval = (text.replace("-", "−") for text in (cell.value, cell.interval))
    value = f'{mark}<span class="value">{number}</span>'
    below = f'<span class="range"><span class="interval">{interval}</span>{extra}</span>'
    return f'<td class="number mean {cell.verdict}"{data} data-n="{found.n}">{value} {below}</td>'


def _title(column: Column, colours: Mapping[str, str]) -> str:
    return point_html(column.title, colours) if column.title in colours else escape(column.title)


def _hint(column: Column) -> str:
    return f' title="{escape(column.hint)}"' if column.hint else ""
