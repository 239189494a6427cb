"""The modules beside this file, for the tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def module(name):
    full = f"mxc_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


@pytest.fixture(scope="session")
def samples():
    """samples.py: files of every kind."""
    return module("samples")


@pytest.fixture(scope="session")
def plain():
    """plain.py: the decoder written from the specification."""
    return module("plain")


@pytest.fixture(scope="session")
def forge():
    """`forge(data, start, stop, new)`: the bytes there replaced, and every checksum made right."""
    return module("fuzz").forge


@pytest.fixture(scope="session")
def read():
    """`read(data)`: the codes (C, T, K) of a file that needs the golden tables at most."""
    from mixcodec.bitstream import bytes_to_tokens

    tables = module("samples").tables()

    def read(data):
        codes = bytes_to_tokens(data, tables_for=lambda header: tables).codes
        return codes if codes.ndim == 3 else codes[None]

    return read
