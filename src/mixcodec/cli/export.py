"""mixcodec export: a checkpoint becomes a model folder."""

from pathlib import Path
from typing import Annotated

import tyro

from mixcodec.errors import FileError


def export(
    checkpoint: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    quality: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    notes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    tables: bool = True,
    data: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None,
    codes_of: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None,
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Write the averaged weights of a training checkpoint as a model folder that runs without torch.

    Args:
        checkpoint: best.safetensors or last.safetensors of a run.
        folder: The model folder to write; one that is there is replaced.
        quality: Markdown with measured figures (such as tables of the summary.md of mixcodec eval), put into the card.
        notes: Markdown on data, licences and limits, put into the card.
        tables: Learn entropy tables from the corpus: files become a tenth smaller or more, and the export takes minutes longer.
        data: Where the corpus of the recipe is. By default where it was in training.
        codes_of: A model with the same encoder and quantizer: its entropy tables are taken, and its files can be decoded.
        imports: Python file, or name of a module, that registers parts of your own; may be given several times.
    """
    from mixcodec.files import check_outside
    from mixcodec.models import find_model
    from mixcodec.outside import import_parts
    from mixcodec.train.export import export_checkpoint

    import_parts(imports)
    source = find_model(codes_of) if codes_of else None
    check_outside(folder, quality, notes, *imports)
    name = export_checkpoint(checkpoint, folder, _text(quality), _text(notes), tables, data, source)
    print(f"{name} is in {folder}")


def _text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read as text ({error}); give a Markdown file") from None
