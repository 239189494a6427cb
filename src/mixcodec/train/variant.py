"""A variant of a model folder, made with the recordings of a corpus."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixcodec.audio import Wave, read_audio, resample
from mixcodec.data import DataConfig, build_manifest, split_by_speaker
from mixcodec.errors import FileError, UsageError
from mixcodec.files import atomic_output, check_distinct, check_outside
from mixcodec.models import PLAIN, VARIANTS, check_variant, graph_name
from mixcodec.nn.export import replace_folder
from mixcodec.nn.variants import variant_graphs
from mixcodec.runtime.config import read_config
from mixcodec.temporary import temporary_folder

RECORDINGS, SECONDS = 96, 8.0
"""int8 finds its ranges on so many recordings, evenly over the corpus, and on so much of each."""
SHARED = ("config.json", "card.md", "entropy.bin")


def make_variant(folder: Path, variant: str, out: Path | None = None, data: Path | None = None) -> Path:
    """Adds a variant's graphs to a model folder, or writes them to `out` with all else that a model needs to run.

    Gives the place. `data` is a corpus; of one with a manifest, the recordings are taken that the model was trained on. Raises
    UsageError where int8 has no `data`, DataError for a corpus that is not there, ModelError for a folder that has no plain
    graphs, FileError where nothing can be written.
    """
    config = read_config(folder)
    if check_variant(variant) == PLAIN:
        raise UsageError(f"{PLAIN} is what mixcodec export makes; give one of {', '.join(VARIANTS)}")
    if variant == "int8" and data is None:
        raise UsageError("int8 finds the ranges of its numbers on recordings: give a folder of some with --data")
    place = folder if out is None else out
    inside = place.resolve() == folder.resolve()
    if not inside:
        check_outside(place, folder, data)
    for name in (graph_name(direction, variant) for direction in ("encoder", "decoder") if inside):
        check_distinct(folder / name, *(folder / graph_name(other, PLAIN) for other in ("encoder", "decoder")))
    waves = [] if data is None or variant != "int8" else calibration_waves(config.extra, data, config.sample_rate)
    graphs = variant_graphs(folder, variant, waves)
    try:
        if inside:
            for name, graph in graphs.items():
                with atomic_output(folder / name) as file:
                    file.write(graph)
        else:
            _write_folder(folder, place.resolve(), graphs)
    except OSError as error:
        raise FileError(f"{place}: cannot be written ({error.strerror}); choose another folder") from None
    return place


def calibration_waves(about: Mapping[str, Any], root: Path, sample_rate: int) -> list[Wave]:
    """Beginnings of training recordings (N,) at `sample_rate`; `about` is a model's config, which may say which they are."""
    chosen = about.get("recipe", {}).get("data", {}) if (root / "manifest.tsv").is_file() else {}
    names = ("manifest", "split", "kind", "min_rate", "source_from", "speaker_regex", "validation", "validation_fraction", "seed")
    config = DataConfig(root=str(root), **{name: chosen[name] for name in names if name in chosen})
    manifest = build_manifest(
        root,
        manifest=config.manifest,
        cache_dir=os.path.expanduser(config.cache_dir),
        split=config.split,
        kind=config.kind,
        min_rate=config.min_rate,
        source_from=config.source_from,
        speaker_regex=config.speaker_regex,
    )
    share = config.validation_fraction if chosen.get("validation_unit", "speaker") == "speaker" else 0.0  # else: ends of files
    entries = split_by_speaker(manifest, config.validation, share, config.seed)[0].entries
    waves = []
    for number in np.unique(np.linspace(0, len(entries) - 1, RECORDINGS).astype(int)):
        wave, rate = read_audio(manifest.root / entries[number].path)
        wave = (wave if wave.ndim == 1 else wave.mean(0))[: round(SECONDS * rate)]
        waves.append(resample(wave.astype(np.float32), rate, sample_rate))
    return waves


def _write_folder(folder: Path, out: Path, graphs: Mapping[str, bytes]) -> None:
    """Writes `out`, whole or not at all: the graphs, and what they share with the model folder."""
    if out.exists() and any(out.iterdir()) and ((out / graph_name("encoder", PLAIN)).exists() or not (out / SHARED[0]).is_file()):
        raise FileError(f"{out}: is there and is no folder of a variant, so it is not replaced; choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(out.parent) as part:
        part.chmod(0o755)
        for name in SHARED:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, part / name)
        for name, graph in graphs.items():
            (part / name).write_bytes(graph)
        replace_folder(part, out)
