"""mixcodec export: a checkpoint becomes a model folder."""

from pathlib import Path
from typing import Annotated

import tyro


def export(
    checkpoint: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    quality: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    notes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Write the averaged weights of a training checkpoint as a model folder that runs without torch.

    Args:
        checkpoint: best.safetensors or last.safetensors of a run.
        folder: The model folder to write; one that is there is replaced.
        quality: Markdown with measured figures (benchmarks/quality.py prints it), put into the card.
        notes: Markdown on data, licences and limits, put into the card.
    """
    from mixcodec.train.export import export_checkpoint

    texts = [path.read_text() if path else "" for path in (quality, notes)]
    name = export_checkpoint(checkpoint, folder, *texts)
    print(f"{name} is in {folder}")
