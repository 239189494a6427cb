"""What a metric or a baseline needs beyond the runtime: a package of an extra, a program of a Debian package."""

from __future__ import annotations

import importlib
import shutil
from types import ModuleType

from mixcodec.errors import MixcodecError


class MissingPartError(MixcodecError):
    """A package or a program that is not installed here."""


def need_package(module: str, extra: str, wanted_by: str) -> ModuleType:
    """Import `module`, which the extra `mixcodec[extra]` brings, for the part `wanted_by`.

    Raises:
        MissingPartError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPartError(f"{wanted_by} needs {module} ({error}); pip install 'mixcodec[{extra}]'") from None


def need_program(program: str, package: str, wanted_by: str) -> str:
    """The path of `program`, which the Debian package `package` brings, for the part `wanted_by`.

    Raises:
        MissingPartError: it is not on the path; the message says how to get it.
    """
    if path := shutil.which(program):
        return path
    raise MissingPartError(f"{wanted_by} needs the program {program}; apt-get install {package}")
