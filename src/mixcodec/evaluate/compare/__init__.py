"""Bake-offs: one base codec, one recipe, one part swapped; every registered kind trained and scored alike.

plan = Plan("mixers", load_recipe("configs/compare/mixers.yaml"))
comparison = compare(plan, Path("runs/mixers"))
write_comparison(comparison, Path("runs/mixers"))
"""

from pathlib import Path

from mixcodec.evaluate.compare.page import page_html
from mixcodec.evaluate.compare.run import PARTS, Comparison, Plan, checked, compare, with_steps
from mixcodec.evaluate.compare.score import Clips, listed_names
from mixcodec.evaluate.compare.tables import markdown
from mixcodec.evaluate.compare.variants import Variant
from mixcodec.files import atomic_output

__all__ = [
    "PARTS",
    "Clips",
    "Comparison",
    "Plan",
    "Variant",
    "checked",
    "compare",
    "listed_names",
    "markdown",
    "page_html",
    "with_steps",
    "write_comparison",
]


def write_comparison(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Write the tables and the page into the folder `out`, each whole or not at all; gives their paths."""
    files = {out / "comparison.md": markdown(comparison), out / "comparison.html": page_html(comparison)}
    for path, text in files.items():
        with atomic_output(path) as file:
            file.write(text.encode())
    table, page = files
    return table, page
