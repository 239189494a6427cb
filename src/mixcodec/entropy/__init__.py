"""Entropy coding of codes: whole-numbered probability models and constriction's coder behind one protocol."""

from mixcodec.entropy.adaptive import Adaptive
from mixcodec.entropy.learned import ContextTables, Static
from mixcodec.entropy.model import ENTROPY_MODELS, EntropyModel
from mixcodec.entropy.tables import ENTROPY, Tables, bytes_to_tables, read_tables
from mixcodec.entropy.uniform import Uniform

KINDS = {cls.number: cls.kind for cls in (Uniform, Adaptive, Static, ContextTables)}
"""The kind behind each number that a file may hold."""

__all__ = [
    "ENTROPY",
    "ENTROPY_MODELS",
    "KINDS",
    "Adaptive",
    "ContextTables",
    "EntropyModel",
    "Static",
    "Tables",
    "Uniform",
    "bytes_to_tables",
    "read_tables",
]
