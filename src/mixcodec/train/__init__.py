"""Training: recipes, the loop on Lightning Fabric, checkpoints."""

from mixcodec.train.checkpoint import load_checkpoint, save_checkpoint
from mixcodec.train.loop import Trainer
from mixcodec.train.recipe import Recipe, load_recipe

__all__ = ["Recipe", "Trainer", "load_checkpoint", "load_recipe", "save_checkpoint"]
