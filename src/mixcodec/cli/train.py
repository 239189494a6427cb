"""mixcodec train: a recipe becomes checkpoints."""

from pathlib import Path
from typing import Annotated

import tyro


def train(
    recipe: tyro.conf.Positional[Path],
    overrides: tyro.conf.Positional[tuple[str, ...]] = (),
    initial: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None,
    hours: Annotated[float | None, tyro.conf.arg(metavar="HOURS")] = None,
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Train the codec that a recipe describes, or go on where the run in its folder stopped.

    For example: mixcodec train configs/starter.yaml data.root=recordings --hours 1

    Args:
        recipe: YAML file such as configs/starter.yaml.
        overrides: Fields to change, as field=value or section.field=value.
        initial: Begin with the weights of this checkpoint, model folder or shipped model.
        hours: Take as many steps as fit into so many hours, instead of the recipe's.
        imports: Python file, or name of a module, that registers parts of your own; may be given several times.
    """
    from mixcodec.outside import import_parts
    from mixcodec.train import Trainer, load_recipe
    from mixcodec.train.changed import finished

    import_parts(imports)
    changes = [*overrides, *([f"hours={hours}"] if hours is not None else [])]
    chosen = load_recipe(recipe, changes, initial=initial)
    if told := finished(chosen):
        print(told)
        return
    trainer = Trainer(chosen)
    trainer.run()
    if not trainer.fabric.global_rank:  # one of several processes speaks for all
        print(trainer.summary())
