"""What is compared: the base codec with one part replaced, or trained by another recipe."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mixcodec.errors import ConfigError, MixcodecError
from mixcodec.registry import Registry, nearest
from mixcodec.train import Recipe


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a table: a codec that differs from the base in one part, or in how it is trained."""

    name: str
    """What the table calls it."""
    kind: str
    """The registered kind that it stands for."""
    group: str
    """The table that it belongs to."""
    codec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The codec as a nested dict of parts."""
    streams: bool = True
    """Whether it works on a stream: else it codes whole clips, as no codec that is shipped could."""
    control: bool = False
    """Whether it is there only to be compared with: its bitrate is not matched."""
    dropout: float | None = None
    """Share of the items that train with a random number of codebooks, where it is not the recipe's."""
    recipe: Recipe | None = None
    """What it is trained by, where it is not by the recipe of all."""
    problem: str = ""
    """Why there is no such codec, where there is none: then it is a row with this reason."""

    @property
    def mark(self) -> str:
        """What a reader must know of it beside its name."""
        return " (control)" if self.control else "" if self.streams else " (offline)"


def chosen_kinds(registry: Registry[Any], wanted: Sequence[str], extra: Sequence[str] = ()) -> list[str]:
    """All kinds of the registry and the `extra` ones, or those that are wanted.

    Raises:
        ConfigError: there is no such kind; names the nearest one.
    """
    known = [*registry.kinds(), *extra]
    for kind in wanted:
        if kind not in known:
            raise ConfigError(f"no {registry.family} {kind!r}: {nearest(kind, known)}")
    return [kind for kind in known if not wanted or kind in wanted]


def with_part(codec: Mapping[str, Any], name: str, part: Any) -> dict[str, Any]:
    """The codec with its entry `name` replaced."""
    return copy.deepcopy({**codec, name: part})


def reason(error: Exception) -> str:
    """What a row says of an error, in one line."""
    told = str(error) if isinstance(error, MixcodecError) else f"{type(error).__name__}: {error}"
    return " ".join(told.split())[:400]
