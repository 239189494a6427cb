"""Named parts: a family keeps its members by kind and builds them from plain dicts."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from mixcodec import outside
from mixcodec.errors import ConfigError

Part = TypeVar("Part")


def nearest(name: Any, known: list[str]) -> str:
    """A hint that names the known word nearest to `name`, or lists them all; whatever is no word is near to none."""
    import difflib  # takes a millisecond, and few runs need it

    close = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def whole_number(name: str, value: Any, least: int = 1, most: int = 1 << 20) -> int:
    """`value` if it is an integer from `least` to `most`. Raises ConfigError, calling it `name`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}, but must be a whole number from {least} to {most}")
    return value


def share(name: str, value: Any) -> float:
    """`value` if it is a number above 0 and below 1. Raises ConfigError, calling it `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"{name} is {value!r}, but must be a number above 0 and below 1")
    return value


class Registry(Generic[Part]):
    """The members of one family (`family` is its name in messages), each a class under its kind.

    One that is open to parts from `outside` looks for them, see `mixcodec.outside`, where it is asked for a kind that it does not
    have, or for all.
    """

    def __init__(self, family: str, outside: bool = False) -> None:
        self.family, self.outside = family, outside
        self._classes: dict[str, Callable[..., Part]] = {}

    def register(self, kind: str) -> Callable[[Callable[..., Part]], Callable[..., Part]]:
        """Class decorator: the class becomes the member `kind`."""

        def keep(cls: Callable[..., Part]) -> Callable[..., Part]:
            if kind in self._classes:
                there = self._classes[kind]
                owner = f"{there.__module__}.{getattr(there, '__qualname__', '')}"
                raise ValueError(f"{self.family} {kind!r} is registered twice: it is {owner} already, give it another kind")
            self._classes[kind] = cls
            outside.registered(self._classes, kind)
            return cls

        return keep

    def kinds(self) -> list[str]:
        """All registered kinds, sorted."""
        if self.outside:
            outside.discover()
        return sorted(self._classes)

    def options(self, kind: str) -> list[str]:
        """The options that `kind` can be asked for: its constructor's parameters."""
        return self._parameters(kind)

    def build(self, config: Mapping[str, Any] | str, **context: Any) -> Part:
        """The member that `config` describes: `{"kind": ..., option: value, ...}` or the bare kind.

        `context` holds what the caller knows (channels, say); a member takes of it what its constructor names.
        Raises ConfigError for an unknown kind or option, naming the nearest known one, for a missing option, and for one
        that the caller gives.
        """
        if not isinstance(config, str | Mapping):
            raise ConfigError(f"a {self.family} is a kind or a mapping with one, not {config!r}")
        config = {"kind": config} if isinstance(config, str) else dict(config)
        kind = config.pop("kind", None)
        if not isinstance(kind, str):
            raise ConfigError(f"a {self.family} needs a 'kind'; known: {', '.join(self.kinds())}")
        cls, known = self._class(kind), self.options(kind)
        for name in config:
            if name not in known:
                raise ConfigError(f"{self.family} {kind!r} has no option {name!r}: {nearest(name, known)}")
            if name in context:
                told = f"{name} is not an option here, where it is {context[name]!r}: leave it out"
                raise ConfigError(f"{self.family} {kind!r}: {told}")
        own = self._parameters(kind)
        given = {k: v for k, v in context.items() if k in own} | config
        try:
            inspect.signature(cls).bind(**given)
        except TypeError as error:
            raise ConfigError(f"{self.family} {kind!r}: {error}") from None
        return cls(**given)

    def _parameters(self, kind: str) -> list[str]:
        return [p for p in inspect.signature(self._class(kind)).parameters if p != "self"]

    def _class(self, kind: str) -> Callable[..., Part]:
        if kind not in self._classes and self.outside:
            outside.discover()
        if kind not in self._classes:
            hint = nearest(kind, self.kinds())
            if self.outside and not hint.startswith("did you mean"):
                hint += "; a part of your own comes with --import my_parts.py"
            raise ConfigError(f"no {self.family} {kind!r}: {hint}")
        return self._classes[kind]
