"""A training checkpoint -> a model folder with its card."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
import yaml

from mixcodec.data import Data, open_data
from mixcodec.entropy import ENTROPY, Tables
from mixcodec.entropy.tables import read_tables
from mixcodec.errors import ConfigError, DataError
from mixcodec.files import check_outside
from mixcodec.losses.discriminators import DISCRIMINATORS
from mixcodec.models import shipped_models
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.export import export_folder, half_precision
from mixcodec.nn.quantizers import Residual
from mixcodec.nn.state import inside
from mixcodec.outside import check_used
from mixcodec.runtime.config import read_config
from mixcodec.train.checkpoint import folder_tensors, load_checkpoint
from mixcodec.train.recipe import Recipe, recipe_from_dict
from mixcodec.train.tables import HOURS, corpus_tables


def export_checkpoint(
    checkpoint: Path,
    folder: Path,
    quality: str = "",
    notes: str = "",
    tables: bool = True,
    data: Path | None = None,
    codes_of: Path | None = None,
) -> str:
    """Exports the averaged weights and, if they were trained, the discriminators'; gives the model's name.

    `quality` and `notes` are Markdown for the card. With `tables` the entropy tables are learned too, from the corpus of the
    recipe, which is at `data` if that is given; with `codes_of`, a model folder with the same encoder and quantizer, its tables
    are taken over, and the export understands its files. Raises ConfigError for a file that is no checkpoint, for a run that
    learned the decoder alone without `codes_of`, and for other codes than those; DataError for a corpus that is not there,
    FileError for a folder that can't be written.
    """
    check_outside(folder, checkpoint, data, codes_of)
    tensors, meta = load_checkpoint(checkpoint)
    check_used(meta.get("parts", {}), checkpoint)
    recipe = recipe_from_dict(meta["recipe"])
    net = CodecNet(recipe.codec)
    net.load_state_dict(inside("ema", tensors))
    net = half_precision(net)
    adversary = None
    if meta["step"] > recipe.adversary.begin:
        adversary = DISCRIMINATORS.build(recipe.adversary.discriminator)
        adversary.load_state_dict(inside("adversary", tensors))
    about = {
        "steps": meta["step"],
        "revision": meta["revision"],
        "data_manifest": meta["manifest"],
        "recipe": _shared(meta),
        **{name: meta[name] for name in ("changes", "parts") if meta.get(name)},
    }
    learned = None
    if codes_of:
        learned = _same_codes(net, codes_of)
        before = read_config(codes_of)
        about["same_codes"] = [before.fingerprint, *before.same_codes]
    elif recipe.learns == "decoder":
        raise ConfigError(f"{checkpoint}: learned the decoder alone; name the model whose codes it decodes with --codes-of")
    elif tables:
        net, learned = _with_tables(net, _corpus(recipe, data))
    export_folder(net, folder, recipe.name, _card(net, meta, quality, notes), about, adversary, learned)
    return recipe.name


def _same_codes(net: CodecNet, folder: Path) -> Tables | None:
    """The entropy tables of a model folder whose encoder and quantizer `net` has. Raises ConfigError where it has others."""
    theirs, ours = inside("net", folder_tensors(folder)), net.state_dict()
    kept = [name for name in ours if name.startswith(("encoder.", "quantizer."))]
    if differ := [name for name in kept if name not in theirs or not torch.equal(theirs[name], ours[name])]:
        raise ConfigError(
            f"{folder}: its codes are others than those of the checkpoint ({differ[0]} differs); export without --codes-of"
        )
    path = folder / ENTROPY
    return read_tables(path) if path.is_file() else None


def _with_tables(net: CodecNet, data: Data) -> tuple[CodecNet, Tables]:
    """The net as it is exported, and its entropy tables: where its choice of codes looks at what they cost, learned twice."""
    if isinstance(net.quantizer, Residual) and any(net.quantizer.thrift):
        net.quantizer.forget_costs()  # a checkpoint may still have those of the weights that its run began with
        net.quantizer.learn_costs(corpus_tables(net, data, HOURS / 4))
        net = half_precision(net)
    return net, corpus_tables(net, data)


def _corpus(recipe: Recipe, root: Path | None) -> Data:
    try:
        return open_data(dataclasses.replace(recipe.data, root=str(root)) if root else recipe.data)
    except DataError as error:
        raise DataError(f"{error}; for the entropy tables, say where the corpus is with --data, or --no-tables") from None


def _shared(meta: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a checkpoint, with the precision that it came to, without what belongs to one machine, and without the codec,
    which the config has already."""
    local, recipe = {"root", "cache_dir", "processes"}, meta["recipe"]
    rest = {k: v for k, v in recipe.items() if k not in {"codec", "out", "data"}}
    if "precision" in meta:
        rest["precision"] = meta["precision"]
    if (initial := rest.get("initial")) and initial not in shipped_models():
        rest["initial"] = Path(initial).name  # a place on one machine
    return rest | {"data": {k: v for k, v in recipe["data"].items() if k not in local}}


def _changed(meta: dict[str, Any]) -> list[str]:
    """What a card says of changes that were made to the recipe on the way: the one that it shows is the last."""
    lines = []
    for change in meta.get("changes", []):
        fields = ", ".join(f"{name} {before} to {now}" for name, (before, now) in change["fields"].items())
        lines.append(f"Changed at step {change['step']}: {fields}.")
    return [*lines, ""] if lines else []


def _card(net: CodecNet, meta: dict[str, Any], quality: str, notes: str) -> str:
    recipe = meta["recipe"]
    size = sum(p.numel() for p in net.parameters()) / 1e6
    bits = (net.codebook_size - 1).bit_length()
    step = net.frame_rate * bits / 1000
    lines = [
        f"# {recipe['name']}",
        "",
        f"A causal neural codec: {net.sample_rate} Hz, {net.frame_rate:g} frames per second, {net.codebooks} codebooks of "
        f"{net.codebook_size} codes, {step:g} to {step * net.codebooks:g} kbps in steps of {step:g} before entropy coding; "
        f"{size:.1f} M parameters; "
        f"{1000 * (net.hop + net.delay) / net.sample_rate:g} ms of algorithmic delay.",
        "",
        notes.strip(),
        "",
        "## Quality",
        "",
        quality.strip() or "Not measured.",
        "",
        "## Training",
        "",
        f"{meta['step']} steps of {recipe['data']['batch_size']} x {recipe['data']['segment_seconds']} s in "
        f"{meta['seconds'] / 3600:.1f} hours, code revision {meta['revision']}, data manifest {meta['manifest'][:16]}. "
        f"The recipe{', as it was in the end' if meta.get('changes') else ''}:",
        "",
        *_changed(meta),
        "```yaml",
        yaml.safe_dump(_shared(meta) | {"codec": recipe["codec"]}, sort_keys=False, default_flow_style=None, width=120).strip(),
        "```",
    ]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"
