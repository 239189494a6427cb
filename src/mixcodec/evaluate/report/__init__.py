"""The report of an evaluation: one HTML file with plots, tables and players, and the same tables as Markdown."""

from __future__ import annotations

from pathlib import Path

from mixcodec.evaluate.report.listening import Excerpt, Listening, Take, choose_clips
from mixcodec.evaluate.report.page import page_html
from mixcodec.evaluate.report.summary import summary_markdown
from mixcodec.evaluate.results import Results
from mixcodec.extras import need_package
from mixcodec.files import atomic_output

__all__ = ["Excerpt", "Listening", "Take", "choose_clips", "summary_markdown", "write_report"]


def write_report(path: Path, results: Results, listening: Listening) -> None:
    """Write the report as one HTML file that opens from disk and loads nothing from anywhere.

    Raises:
        MissingPartError: plotly or Pillow is not installed.
        FileError: `path` cannot be written.
    """
    for module in ("plotly", "PIL"):
        need_package(module, "eval", "the report")
    page = page_html(results, listening)
    with atomic_output(path) as file:
        file.write(page.encode("utf-8"))
