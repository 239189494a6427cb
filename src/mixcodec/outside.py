"""Parts from outside the package: files and modules that a user names, and installed packages that announce theirs.

A part registers itself when its module is imported, as the parts of the package do. So all there is to do is to import it, once,
and to say in one line what went wrong. Nothing is imported before a kind is asked for that the package does not have, or all
kinds are listed: commands that build no parts never touch what others have installed.

- `import_parts(["my_parts.py", "my_package.parts"])`, on the command line `--import`, imports now. Processes that this one starts
  do the same, for they find the names in the variable MIXCODEC_IMPORT; it can be set by hand, too.
- A package that is installed names its modules under the entry points `mixcodec.parts`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mixcodec.errors import PartError

GROUP = "mixcodec.parts"
VARIABLE = "MIXCODEC_IMPORT"

Registration = tuple[dict[str, Any], str]
"""The members of a family, and the kind that was added."""

_loading: list[tuple[str, list[Registration]]] = []
_origins: dict[str, str] = {}
_own: set[str] = set()
"""Kinds of the package itself."""
_loaded: set[str] = set()
_looked: list[str] = []
"""Groups of entry points that have been looked at."""


def import_parts(names: Iterable[str]) -> None:
    """Imports files (`my_parts.py`) and modules (`my_package.parts`) whose parts then have their kinds; each once.

    Raises PartError, in one line, for one that is not there, that fails when it is imported, or that registers a kind which is
    there already; nothing of it is registered then.
    """
    for name in names:
        path = os.path.expanduser(name)
        known = os.path.realpath(path) if name.endswith(".py") or os.sep in name or os.path.isfile(path) else name
        if known not in _loaded:
            _import(name, known)
        told = [known if one == name else one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*told, known]))


def discover() -> None:
    """Imports what MIXCODEC_IMPORT and the entry points of installed packages name, if it has not been: a broken one is left out.

    Raises PartError for one that MIXCODEC_IMPORT names: it was asked for.
    """
    if _loading:  # a part that lists the kinds while it is imported
        return
    if wanted := [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one and one not in _loaded]:
        import_parts(wanted)
    if GROUP in _looked:
        return
    _looked.append(GROUP)
    import logging
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        module = point.value.partition(":")[0]
        owner = f"{point.dist.name} ({module})" if point.dist else module
        try:
            if module not in _loaded:
                _import(owner, module)
        except PartError as error:
            logging.getLogger(__name__).warning("the parts of an installed package are left out: %s", error)


def registered(members: dict[str, Any], kind: str) -> None:
    """Is told by a family of each kind that is added to its `members`."""
    if _loading:
        name, added = _loading[-1]
        added.append((members, kind))
        _origins[kind] = name
    else:
        _own.add(kind)


def used_in(config: Any) -> dict[str, str]:
    """Kinds from outside that nested plain values name, with what brought each: a file's name, or a package."""
    if isinstance(config, Mapping):
        return {kind: origin for value in config.values() for kind, origin in used_in(value).items()}
    if isinstance(config, list | tuple):
        return {kind: origin for value in config for kind, origin in used_in(value).items()}
    return {config: _origins[config]} if isinstance(config, str) and config in _origins and config not in _own else {}


def check_used(needed: Mapping[str, str], where: str | os.PathLike[str]) -> None:
    """Raises PartError, in one line, where what is at `where` needs kinds (see `used_in`) that nobody has brought."""
    if all(kind in _origins for kind in needed):
        return
    discover()
    for kind, origin in needed.items():
        if kind not in _origins:
            how = (
                f"give it with --import {origin}" if origin.endswith(".py") else f"install it, or give it with --import {origin}"
            )
            raise PartError(f"{os.fspath(where)}: needs the part {kind!r} of {origin}: {how}")


def _import(name: str, known: str) -> None:
    """Imports one file, an absolute path, or module; `name` is what messages call it."""
    with _registering(os.path.basename(known) if known.endswith(".py") else name):
        try:
            if os.path.isabs(known):
                _import_file(name, known)
            else:
                _make_findable(os.getcwd())
                importlib.import_module(known)
        except PartError:
            raise
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # whatever a module does when it is imported, an exit among it
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PartError(f"{name}: cannot be imported as parts ({reason})") from error
    _loaded.add(known)


def _import_file(name: str, path: str) -> None:
    if not os.path.isfile(path):
        told = "is a folder; give its file, or the module's name" if os.path.isdir(path) else "no such file; check the name"
        raise PartError(f"{name}: {told}")
    import importlib.util
    import zlib

    stem = os.path.splitext(os.path.basename(path))[0]
    module_name = f"mixcodec_parts_{stem.replace('.', '_')}_{zlib.crc32(os.fsencode(path)):08x}"  # the same in every process
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PartError(f"{name}: is no Python file; give one that ends in .py, or the name of a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        _make_findable(os.path.dirname(path))
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise


def _make_findable(folder: str) -> None:
    """Lets modules that lie in `folder` be imported, behind all others: a part may import its neighbours, now and later."""
    if folder not in sys.path:
        sys.path.append(folder)


@contextlib.contextmanager
def _registering(name: str) -> Iterator[None]:
    """In it, what is registered is `name`'s; if it fails, nothing is."""
    added: list[Registration] = []
    _loading.append((name, added))
    try:
        yield
    except BaseException:
        for members, kind in added:
            members.pop(kind, None)
            _origins.pop(kind, None)
        raise
    finally:
        _loading.pop()
