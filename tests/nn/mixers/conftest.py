"""timm's blocks as oracle, without torchvision, which timm wants for reading images and which is not needed here."""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types

import pytest


class _Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Absent(types.ModuleType):
    """A module of which everything can be imported and nothing used."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec):
        return _Absent(spec.name)

    def exec_module(self, module):
        pass


@contextlib.contextmanager
def without_torchvision():
    """In it timm can be imported though torchvision is not there."""
    finder = None if importlib.util.find_spec("torchvision") else _Finder()
    if finder:
        sys.meta_path.append(finder)
    try:
        importlib.import_module("timm")
        yield
    finally:
        if finder:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]


@pytest.fixture(scope="session")
def timm_models():
    """`timm_models(name)`: the module timm.models.<name>; skips where timm is not installed."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    with without_torchvision():
        return lambda name: importlib.import_module(f"timm.models.{name}")
