"""mixcodec variant: a model folder gets its graphs in int8 or bf16."""

from pathlib import Path
from typing import Annotated

import tyro


def variant(
    folder: tyro.conf.Positional[Path],
    kind: tyro.conf.Positional[str],
    out: tyro.conf.Positional[Path | None] = None,
    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
    time: bool = True,
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Make a variant of a model's two graphs, with the same fingerprint: what one encodes any other decodes.

    Args:
        folder: Model folder, or name of a shipped model.
        kind: int8 (blocks on 8-bit integers, which some CPUs compute much faster with, others hardly) or bf16 (weights stored as
            bfloat16, computed with in float32).
        out: Folder for the variant alone; found by the model's name where it is called like its folder, with -int8 or -bf16
            behind. By default the graphs are added to the model folder.
        data: Folder of recordings like those that the model was trained on, on which int8 finds the ranges of its numbers.
        time: Time the variant beside the plain graphs, and say what it gains on this machine.
        imports: Python file, or name of a module, that registers parts of your own; may be given several times.
    """
    from mixcodec.models import find_model
    from mixcodec.outside import import_parts
    from mixcodec.runtime.speed import told, variant_gain
    from mixcodec.train.variant import make_variant

    import_parts(imports)
    model = find_model(folder)
    place = make_variant(model, kind, out, data)
    print(f"{kind} of {folder} is in {place}")
    if time:
        print(told(kind, variant_gain(model, kind, place)))
