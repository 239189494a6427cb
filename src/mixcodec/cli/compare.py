"""mixcodec compare: which part is worth what, under one recipe."""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro


def compare(
    part: tyro.conf.Positional[str],
    overrides: tyro.conf.Positional[tuple[str, ...]] = (),
    recipe: Path | None = None,
    kinds: tuple[str, ...] = (),
    steps: int | None = None,
    seeds: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--seed"])] = (0,),
    data: Path | None = None,
    listed: Annotated[Path | None, tyro.conf.arg(name="list")] = None,
    clips: int = 24,
    clip_seconds: float = 3.0,
    out: Path | None = None,
    jobs: int = 2,
    minutes: float | None = None,
    tables: Path | None = None,
) -> None:
    """Train one codec with every kind of a part in turn, all else equal, and put the results side by side.

    For example: mixcodec compare mixers --data recordings --kinds convolution attention ssm --out runs/mixers

    The folder OUT gets comparison.md, comparison.html, comparison.pareto.svg and a file for each kind and seed: a run that was
    stopped goes on with the kinds that are missing, and one with new kinds trains those alone.

    Args:
        part: quantizers (at matched bitrate) or mixers (at equal parameters, then at equal arithmetic).
        overrides: Fields of the recipe to change, as field=value or section.field=value.
        recipe: YAML file with the base codec and its training; by default configs/compare/PART.yaml.
        kinds: Registered kinds to take; all by default.
        steps: Steps of each, in place of the recipe's; the steps of the shared autoencoder keep their share.
        seeds: Each kind is trained once with each seed.
        data: Folder with the audio to train on, in place of the recipe's data.root.
        listed: Text file with the clips to score on, one path below the data folder a line; by default held-out speakers.
        clips: Segments of held-out speakers to score on.
        clip_seconds: Their length.
        out: Folder for what is found; by default runs/compare-PART.
        jobs: Kinds that are trained at the same time, each in a process of its own with the recipe's threads.
        minutes: Begin no further kind after so many; 0 writes the tables of what is there.
        tables: Markdown file with the tables of an earlier comparison: their plot is drawn beside it, their fronts are printed.
    """
    from mixcodec.errors import UsageError
    from mixcodec.evaluate.compare import PARTS, Clips, Plan, checked, draw_tables, listed_names, with_steps, write_comparison
    from mixcodec.evaluate.compare import compare as run
    from mixcodec.registry import nearest
    from mixcodec.train import load_recipe

    if part not in PARTS:
        raise UsageError(f"no part {part!r} to compare: {nearest(part, list(PARTS))}")
    if tables:
        print(*draw_tables(tables, part), sep="\n\n")
        return
    changes = [*overrides, *([f"data.root={data}"] if data else [])]
    base = load_recipe(recipe or Path("configs") / "compare" / f"{part}.yaml", changes)
    if steps is not None:
        base = with_steps(base, steps)
    scored = Clips(clips, clip_seconds, base.data.root, listed_names(listed, Path(base.data.root)) if listed else ())
    command = shlex.join(["mixcodec", *sys.argv[1:]])
    plan = checked(Plan(part, base, kinds, seeds, scored, jobs, math.inf if minutes is None else minutes, command))
    folder = out or Path("runs") / f"compare-{part}"
    found = run(plan, folder, lambda line: print(line, file=sys.stderr, flush=True))
    files = write_comparison(found, folder)
    failed = sum(row["status"] != "done" for rows in found.rows.values() for row in rows)
    print(f"{len(found.variants)} variants, {failed} rows not measured", *files, sep="\n")
