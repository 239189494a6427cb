"""A training recipe: typed sections, read from YAML, any field overridden by `section.field=value`."""

import copy
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mixcodec.data import DataConfig
from mixcodec.errors import ConfigError
from mixcodec.judges.panel import JUDGES
from mixcodec.registry import nearest
from mixcodec.tokens import MODEL_NAME

ACCELERATORS = ["auto", "cpu", "cuda", "gpu", "mps"]
TEACHERS = ["", "whisper"]
LEARNERS = ["codec", "decoder"]
PRECISIONS = ["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"]


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, and the windows they are measured in."""

    mel: float = 1.0
    """Multi-scale log-mel distance."""
    magnitude: float = 4.0
    """Multi-resolution distance of compressed magnitudes."""
    complex: float = 1.0
    """Multi-resolution distance of compressed complex spectra."""
    phase: float = 0.0
    """Multi-resolution distance of phases."""
    envelope: float = 0.0
    """1 - correlation of third-octave envelopes."""
    loudness: float = 0.0
    """Disturbance of perceived loudness."""
    recognition: float = 0.0
    """Distance of what Whisper base makes of the wave; needs the packages of [eval-words]."""
    words: float = 0.0
    """Divergence of the words that Whisper base hears in the wave from those in the original; needs the same packages."""
    pitch: float = 0.0
    """How well the head reads pitch and voicing from its features; needs praat-parselmouth, and a head that reads them."""
    recognition_every: int = 4
    """The recogniser hears one item of a batch of so many."""
    complex_below: float = 8000
    """Frequency in Hz under which the complex term counts."""
    balanced: bool = False
    """Whether the weights, with the adversary's, are shares of the gradient at the wave, instead of factors of the losses."""
    commitment: float = 0.1
    """How strongly latents are drawn to their codes."""
    windows: tuple[int, ...] = (256, 512, 1024)
    """Window lengths in samples."""
    bands: tuple[int, ...] = (20, 40, 80)
    """Mel bands at each window."""


@dataclasses.dataclass(frozen=True)
class AdversaryConfig:
    """The discriminators: what they are, when and how often they take part."""

    discriminator: dict[str, Any] = dataclasses.field(default_factory=lambda: {"kind": "multi_resolution"})
    """The discriminators as a part: kind and options."""
    begin: int = 1_000_000_000
    """First step that they take part in."""
    every: int = 2
    """They take part in one step of so many."""
    crop_seconds: float = 1.0
    """They see a random crop of this length."""
    weight: float = 0.1
    """Weight of the generator's adversarial loss."""
    feature_weight: float = 1.0
    """Weight of feature matching."""
    lr: float = 3e-4
    """Learning rate of the discriminators."""


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """What teaches the first codebook of a `semantic_split` quantizer; how strongly, the quantizer's `weight` says."""

    kind: str = ""
    """whisper (the encoder of Whisper base), or empty for none."""
    every: int = 1
    """It takes part in one step of so many."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides a training run."""

    name: str
    """Name of the model."""
    codec: dict[str, Any]
    """The codec as a nested dict of parts."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """Which audio, and how segments are cut from it."""
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    """What is lowered."""
    adversary: AdversaryConfig = dataclasses.field(default_factory=AdversaryConfig)
    """The discriminators."""
    teacher: TeacherConfig = dataclasses.field(default_factory=TeacherConfig)
    """What the first codebook is to know."""
    learns: str = "codec"
    """The whole `codec`, or the `decoder` alone: encoder and quantizer then stay as they began, and so do all codes."""
    out: str = "runs/{name}"
    """Folder for checkpoints and logs; {name} stands for the name."""
    initial: str = ""
    """Checkpoint, model folder or shipped model whose weights a new run begins with. Where the recipe has no codec, it takes
    that of this model."""
    steps: int = 20_000
    """Steps of the whole run; the learning rate falls along a cosine until then."""
    hours: float = 0.0
    """If above 0: as many steps as fit into so many hours, however often the run is stopped, instead of `steps`."""
    warmup: int = 200
    """Steps in which the learning rate rises from zero."""
    lr: float = 1e-3
    """Highest learning rate."""
    lr_floor: float = 0.02
    """Share of it that is left at the end."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's averages."""
    weight_decay: float = 0.01
    """Weight decay of matrices; vectors have none."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the averaged weights, which are validated and exported."""
    codebooks_from: int = 200
    """Step at which the codebooks are fitted to latents by k-means; before it latents pass unquantized."""
    start_frames: int = 16_384
    """Latents that the codebooks are fitted to."""
    dropout: float = 0.6
    """Share of items that use a random number of codebooks instead of the usual one."""
    usual_codebooks: int = 0
    """How many codebooks the other items use; 0 is all."""
    accelerator: str = "auto"
    """cpu, cuda or auto."""
    devices: int = 1
    """Processes that share the work, each with data.batch_size segments of a step's batch: two do what one with twice the
    batch would do."""
    precision: str = "auto"
    """Lightning Fabric's name of the numeric precision; auto takes bf16-mixed or 32-true, whichever is faster here."""
    compile: bool = False
    """Whether torch.compile makes kernels for stacks, losses and discriminators; needs a C++ compiler, on a GPU Triton."""
    threads: int = 1
    """Threads of one operator; more than one pays only on an otherwise idle machine."""
    seed: int = 0
    """Seed of weights and draws."""
    log_every: int = 20
    """Steps between lines of the log."""
    validate_every: int = 500
    """Steps between validations."""
    judges: tuple[str, ...] = tuple(JUDGES)
    """Who judges the validation segments beside the losses, as far as their packages are there (mixcodec.judges.panel), about a
    second a segment in all; with all of them, and only then, they have a say in which checkpoint is the best."""
    save_every: int = 250
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        for name in ("steps", "lr", "clip", "log_every", "validate_every", "save_every", "start_frames", "threads", "devices"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be positive")
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be finite")
        if not 0 <= self.hours < math.inf:
            raise ConfigError(f"hours is {self.hours}, but must be a number of hours, or 0 for as many as the steps take")
        if not MODEL_NAME.fullmatch(self.name):
            raise ConfigError(f"name is {self.name!r}, which no model can have; use letters, digits, '-', '_' and '.'")
        if self.out.replace("{name}", "").count("{"):
            raise ConfigError(f"out is {self.out!r}, in which only {{name}} may stand in braces")
        if self.out.encode(errors="ignore").decode() != self.out:
            raise ConfigError(f"out is {self.out!r}, but must be UTF-8: TensorBoard writes into no other folder")
        if self.accelerator not in ACCELERATORS:
            raise ConfigError(f"accelerator is {self.accelerator!r}: {nearest(self.accelerator, ACCELERATORS)}")
        if self.learns not in LEARNERS:
            raise ConfigError(f"learns is {self.learns!r}: {nearest(self.learns, LEARNERS)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision is {self.precision!r}: {nearest(self.precision, PRECISIONS)}")
        for pair in (self.betas,):
            if len(pair) != 2 or not all(isinstance(b, int | float) and 0 <= b < 1 for b in pair):
                raise ConfigError(f"betas are {pair}, but must be two numbers in [0, 1)")
        for window in self.loss.windows + self.loss.bands:
            if not isinstance(window, int) or window < 2:
                raise ConfigError(f"loss.windows and loss.bands must be whole numbers above 1, not {window!r}")
        for name in self.judges:
            if name not in JUDGES:
                raise ConfigError(f"judges are {list(self.judges)}: {nearest(name, list(JUDGES))}")
        if self.teacher.kind not in TEACHERS:
            raise ConfigError(f"teacher.kind is {self.teacher.kind!r}: {nearest(self.teacher.kind, TEACHERS)}")
        if self.teacher.every < 1:
            raise ConfigError(f"teacher.every is {self.teacher.every}, but must be positive")
        if self.loss.recognition_every < 1:
            raise ConfigError(f"loss.recognition_every is {self.loss.recognition_every}, but must be positive")
        if self.adversary.every < 1 or self.adversary.crop_seconds <= 0:
            raise ConfigError("adversary.every and adversary.crop_seconds must be positive")
        if min(self.seed, self.usual_codebooks, self.codebooks_from, self.warmup) < 0:
            raise ConfigError("seed, usual_codebooks, codebooks_from and warmup must not be negative")
        for name in ("dropout", "ema", "lr_floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must lie in [0, 1]")
        if len(self.loss.windows) != len(self.loss.bands):
            raise ConfigError("loss.windows and loss.bands must be equally many")
        if self.data.sample_rate != self.codec.get("sample_rate"):
            raise ConfigError(f"data.sample_rate is {self.data.sample_rate}, codec.sample_rate {self.codec.get('sample_rate')}")

    @property
    def folder(self) -> Path:
        """Where checkpoints and logs go."""
        return Path(self.out.replace("{name}", self.name))

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, from which `recipe_from_dict` makes an equal recipe."""
        return dataclasses.asdict(self)


SECTIONS = {"data": DataConfig, "loss": LossConfig, "adversary": AdversaryConfig, "teacher": TeacherConfig}


def load_recipe(
    path: str | Path, overrides: Sequence[str] = (), under: Sequence[str] = (), initial: str | Path | None = None
) -> Recipe:
    """The recipe in a YAML file, with `field=value` or `section.field=value` overrides (values are YAML).

    A file may name another as its `base`, by a path from its own folder, and give only what it changes: sections and parts
    field by field; a part that names its `kind`, a list and a plain value as a whole. Its name is by default that of the file.
    The overrides in `under` are made in the last base, so what a file changes stays changed. `initial`, if given, takes the
    place of the recipe's field. A recipe without a codec takes that of its `initial`, with its sample rate, windows of the loss
    and discriminators, which take part if they have been trained.

    Raises ConfigError for a file that is not there or no YAML, for bases in a circle, for an `initial` that is wanted for its
    codec and is not there, and for an unknown or ill-typed field.
    """
    values = _read(Path(path), under, ())
    wanted = copy.deepcopy(values)
    for override in overrides:
        _override(wanted, override)
    if initial is not None:
        values["initial"] = wanted["initial"] = os.fspath(initial)
    if "codec" not in values and wanted.get("initial"):
        _take_over(values, _codec_source(wanted))
        for override in overrides:
            if initial is None or not override.startswith("initial="):
                _override(values, override)
        return recipe_from_dict(values)
    return recipe_from_dict(wanted)


def _codec_source(values: Mapping[str, Any]) -> Path:
    """Where a recipe without a codec finds it: in its own run, if that has begun, which goes on with what it has; else in its
    `initial`."""
    from mixcodec.train.warm import initial_path

    for name in ("initial", "out", "name"):
        if not isinstance(values.get(name, ""), str):
            raise ConfigError(f"{name} is {values[name]!r}, but must be of type str")
    last = Path(values.get("out", Recipe.out).replace("{name}", values.get("name", ""))) / "last.safetensors"
    return last if last.exists() else initial_path(values["initial"])


def _take_over(values: dict[str, Any], path: Path) -> None:
    """Gives a recipe the codec of a checkpoint or model folder, and what belongs to it, where it does not say otherwise."""
    from mixcodec.train.warm import brings_discriminators, initial_recipe

    found = initial_recipe(path)
    values["codec"] = found["codec"]
    taken: dict[str, dict[str, Any]] = {"data": {"sample_rate": found["codec"].get("sample_rate")}, "loss": {}, "adversary": {}}
    for section, name in (("loss", "windows"), ("loss", "bands"), ("adversary", "discriminator")):
        if name in found.get(section, {}):
            taken[section][name] = found[section][name]
    if brings_discriminators(path):
        taken["adversary"]["begin"] = 0
    for section, fields in taken.items():
        own = values.get(section) or {}
        if isinstance(own, dict):
            values[section] = fields | own


def _read(path: Path, under: Sequence[str], above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a recipe such as configs/speech-16k.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of fields to values")
    if path.resolve() in above:
        raise ConfigError(f"{path}: a recipe cannot be its own base, be it by way of others")
    base = values.pop("base", None)
    if base is None:
        for override in under:
            _override(values, override)
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base is {base!r}, but must be the path of a recipe")
    return _changed(_read(path.parent / base, under, (*above, path.resolve())), {"name": path.stem} | values)


def _changed(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, new in changes.items():
        old = base.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and "kind" not in new:
            new = _changed(old, new)
        base[name] = new
    return base


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """A recipe from nested plain values. Raises ConfigError."""
    values = dict(values)
    for name, section in SECTIONS.items():
        if name in values:
            values[name] = _build(section, values[name] or {}, f"{name}.")
    recipe: Recipe = _build(Recipe, values, "")
    return recipe


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix[:-1]} must hold fields, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    given = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"a recipe has no field {prefix + str(name)!r}: {nearest(str(name), list(fields))}")
        given[name] = _typed(value, str(fields[name].type), prefix + name)
    absent = (dataclasses.MISSING, dataclasses.MISSING)
    if missing := [n for n, f in fields.items() if n not in given and (f.default, f.default_factory) == absent]:
        raise ConfigError(f"a recipe needs {', '.join(prefix + n for n in missing)}")
    return cls(**given)


def _typed(value: Any, kind: str, name: str) -> Any:
    """`value` as the field's type, where that loses nothing (YAML reads 1e-3 as text and 1 as an integer)."""
    kind = kind.removeprefix("<class '").removesuffix("'>")
    try:
        if kind == "bool" and isinstance(value, bool):
            return value
        if kind == "float" and not isinstance(value, bool):
            return float(value)
        if kind == "int" and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value))
        if kind == "str" and isinstance(value, str):
            return value
        if kind.startswith("tuple") and isinstance(value, list | tuple):
            return tuple(value)
        if kind.startswith("dict") and isinstance(value, Mapping):
            return dict(value)
    except (TypeError, ValueError, OverflowError):
        pass
    if dataclasses.is_dataclass(value):
        return value
    raise ConfigError(f"{name} is {value!r}, but must be of type {kind}")


def _override(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"{override!r} is no override; write field=value or section.field=value")
    *parents, name = path.split(".")
    at: Any = values
    for i, parent in enumerate(parents):
        at = at.setdefault(parent, {}) if isinstance(at, dict) else at[_place(at, parent, path)]
        if not isinstance(at, dict | list):
            raise ConfigError(f"{override!r}: {'.'.join(parents[: i + 1])} holds no fields")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        if text.isascii() or text.encode(errors="ignore").decode() == text:
            raise ConfigError(f"{override!r}: the value is not YAML") from None
        value = text  # a path that is no UTF-8
    at[name if isinstance(at, dict) else _place(at, name, path)] = value


def _place(values: list[Any], name: str, path: str) -> int:
    if not name.isdecimal() or int(name) >= len(values):
        raise ConfigError(f"{path}: {name} is not one of the {len(values)} places of a list")
    return int(name)
