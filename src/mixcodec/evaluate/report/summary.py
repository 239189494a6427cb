"""The tables of the report as Markdown."""

from __future__ import annotations

import re

from mixcodec.evaluate.report import tables
from mixcodec.evaluate.report.findings import Findings, ranking_scale
from mixcodec.evaluate.report.tables import Cell, Column, Mean, Table, own_n, row_n
from mixcodec.evaluate.results import Results


def summary_markdown(results: Results) -> str:
    """Everything but the plots and the players: the command, all tables, the failures and what it was made with."""
    findings = Findings(results)
    scale = ranking_scale(results)
    breakdowns = [
        tables.breakdown_table(findings, "language", one) for one in findings.scales if one in (scale, *findings.scales[:2])
    ]
    shown = [
        tables.point_table(findings),
        tables.nearest_table(findings),
        tables.bd_table(findings),
        *breakdowns,
        tables.codebook_table(findings),
        tables.failure_table(findings),
        tables.delay_table(findings),
        tables.about_table(findings),
    ]
    parts = ["# Codec evaluation", _command(results), _measured(findings)]
    parts += [table_markdown(table) for table in shown if table]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_markdown(table: Table) -> str:
    """Title, table and note. Differences whose interval leaves out zero are bold."""
    columns = list(table.columns)
    if table.has_means:
        columns.insert(table.first_mean, Column("n"))
    lines = [_line([_plain(column.title) for column in columns])]
    lines.append(_line(["---:" if column.kind == "number" else "---" for column in columns]))
    for row in table.rows:
        n = row_n(row)
        cells = [_cell(cell, n) for cell in row]
        if table.has_means:
            cells.insert(table.first_mean, str(n))
        lines.append(_line(cells))
    note = f"\n\n{_plain(table.note)}" if table.note else ""
    return f"## {_plain(table.title)}\n\n" + "\n".join(lines) + note


def _cell(cell: Cell, n: int) -> str:
    if not isinstance(cell, Mean):
        return _plain(cell)
    value = f"**{cell.value}**" if cell.verdict else cell.value
    other = own_n(cell, n)
    return " ".join(part for part in (value, cell.interval, f"({other})" if other else "") if part)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that is no markup in a Markdown table: neither HTML, nor a cell's end, nor emphasis, code or a link."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|\[\]])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", " ".join(text.split()))


def _command(results: Results) -> str:
    command = str(results.about.get("command") or "")
    if not command:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"


def _measured(findings: Findings) -> str:
    rate = findings.results.about.get("sample_rate")
    at = f", at {rate} Hz" if rate else ""
    return f"{len(findings.clips)} clips, {findings.seconds:.1f} s of sound{at}; {len(findings.points)} operating points."
