"""Bake-offs: one base codec, one recipe, one part swapped; every registered kind trained and scored alike.

plan = Plan("mixers", load_recipe("configs/compare/mixers.yaml"))
comparison = compare(plan, Path("runs/mixers"))
write_comparison(comparison, Path("runs/mixers"))
"""

from pathlib import Path

from mixcodec.evaluate.compare.page import page_html
from mixcodec.evaluate.compare.pareto import figures_of_tables, front_table, ranked_figures
from mixcodec.evaluate.compare.picture import picture
from mixcodec.evaluate.compare.run import PARTS, Comparison, Plan, checked, compare, with_steps
from mixcodec.evaluate.compare.score import Clips, listed_names
from mixcodec.evaluate.compare.tables import markdown
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.evaluate.report.summary import table_markdown
from mixcodec.files import atomic_output

__all__ = [
    "OUTPUTS",
    "PARTS",
    "Clips",
    "Comparison",
    "Plan",
    "Variant",
    "checked",
    "compare",
    "draw_tables",
    "listed_names",
    "markdown",
    "page_html",
    "with_steps",
    "write_comparison",
]


PLOT = ".pareto.svg"
"""In place of a table's `.md`: the file with its plot."""
OUTPUTS = ("comparison.md", "comparison.html", f"comparison{PLOT}")
"""What is written into the folder of a comparison, besides its rows."""


def write_comparison(comparison: Comparison, out: Path) -> tuple[Path, Path, Path]:
    """Write the tables, the page and the plot into the folder `out`, each whole or not at all; gives their paths."""
    figures = ranked_figures(comparison)
    texts = (markdown(comparison, [front_table(figures)] if figures else []), page_html(comparison), picture(figures))
    table, page, plot = (out / name for name in OUTPUTS)
    for path, text in zip((table, page, plot), texts, strict=True):
        _write(path, text)
    return table, page, plot


def draw_tables(path: Path, part: str) -> tuple[str, Path]:
    """Draw the plot of an earlier comparison beside its tables in Markdown; gives its fronts, as Markdown, and its path.

    Raises:
        FileError: there is no such table in the file.
    """
    figures, plot = figures_of_tables(path, part), path.with_suffix(PLOT)
    _write(plot, picture(figures))
    return table_markdown(front_table(figures)), plot


def _write(path: Path, text: str) -> None:
    with atomic_output(path) as file:
        file.write(text.encode())
