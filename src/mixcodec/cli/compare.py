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
    initial: Path | None = None,
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
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Train one codec with every kind of a part in turn, all else equal, and put the results side by side.

    For example: mixcodec compare mixers --data recordings --kinds convolution attention ssm --out runs/mixers

    Or other recipes with a base: mixcodec compare recipes configs/ablations/no-*.yaml steps=500 --data recordings

    The folder OUT gets comparison.md, comparison.html, comparison.pareto.svg and a file for each kind and seed: a run that was
    stopped goes on with the kinds that are missing, and one with new kinds trains those alone.

    Args:
        part: quantizers (at matched bitrate), mixers (at equal parameters, then at equal arithmetic) or recipes.
        overrides: Fields of the base to change, as field=value or section.field=value; and, of recipes, the YAML files of
            those to compare with the base, by default configs/ablations. What such a recipe changes itself stays changed.
        recipe: YAML file with the base codec and its training; by default configs/compare/PART.yaml, of recipes
            configs/speech-16k.yaml.
        initial: Checkpoint or model folder that all recipes begin with.
        kinds: Registered kinds, or names of recipes, to take; all by default.
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
        imports: Python file, or name of a module, that registers parts of your own; may be given several times.
    """
    from mixcodec.errors import UsageError
    from mixcodec.evaluate.compare import (
        OUTPUTS,
        PARTS,
        Clips,
        Plan,
        checked,
        draw_tables,
        listed_names,
        with_steps,
        write_comparison,
    )
    from mixcodec.evaluate.compare import compare as run
    from mixcodec.evaluate.compare.recipes import load_others, operating_points
    from mixcodec.files import check_distinct
    from mixcodec.outside import import_parts
    from mixcodec.registry import nearest
    from mixcodec.train import load_recipe

    import_parts(imports)
    if part not in PARTS:
        raise UsageError(f"no part {part!r} to compare: {nearest(part, list(PARTS))}")
    if tables:
        print(*draw_tables(tables, part), sep="\n\n")
        return
    usual = Path("configs") / ("speech-16k.yaml" if part == "recipes" else f"compare/{part}.yaml")
    if recipe is None and not usual.is_file():
        raise UsageError(f"{usual}: there is no such file here; name the recipe with --recipe, or run where the file is")
    files = [Path(word) for word in overrides if part == "recipes" and "=" not in word]
    changes = [word for word in overrides if Path(word) not in files] + ([f"data.root={data}"] if data else [])
    base = load_recipe(recipe or usual, under=changes) if part == "recipes" else load_recipe(recipe or usual, changes)
    others = load_others(files, changes) if part == "recipes" else ()
    if steps is not None:
        base, others = with_steps(base, steps), tuple(with_steps(one, steps) for one in others)
    names = listed_names(listed, Path(base.data.root)) if listed else ()
    scored = Clips(clips, clip_seconds, base.data.root, names, operating_points(base) if part == "recipes" else ())
    command = shlex.join(["mixcodec", *sys.argv[1:]])
    limit = math.inf if minutes is None else minutes
    plan = checked(Plan(part, base, kinds, seeds, scored, jobs, limit, command, others, initial))
    folder = out or Path("runs") / f"compare-{part}"
    for name in OUTPUTS:
        check_distinct(folder / name, recipe or usual, *files, listed, initial)
    found = run(plan, folder, lambda line: print(line, file=sys.stderr, flush=True))
    written = write_comparison(found, folder)
    failed = sum(row["status"] != "done" for rows in found.rows.values() for row in rows)
    print(f"{len(found.variants)} variants, {failed} rows not measured", *written, sep="\n")
