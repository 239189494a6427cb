"""mixcodec train: a recipe becomes checkpoints."""

from pathlib import Path
from typing import Annotated

import tyro


def train(
    recipe: tyro.conf.Positional[Path],
    overrides: tyro.conf.Positional[tuple[str, ...]] = (),
    initial: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
) -> None:
    """Train the codec that a recipe describes, or go on where the run in its folder stopped.

    Args:
        recipe: YAML file such as configs/speech-16k.yaml.
        overrides: Fields to change, as field=value or section.field=value.
        initial: Begin with the weights of this checkpoint or model folder.
    """
    from mixcodec.train import Trainer, load_recipe

    trainer = Trainer(load_recipe(recipe, overrides), initial)
    trainer.run()
    print(f"{trainer.step} steps; the newest state is {trainer.checkpoint}")
