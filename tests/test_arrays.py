"""Numbers and arrays of any library, made plain."""

import math
import operator
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.arrays import as_array, integer, number, shown, whole
from mixcodec.errors import AudioError, TokensError

INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
FLOATS = (float, np.float16, np.float32, np.float64, np.longdouble)
TENSORS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)


class Whole:
    """What no library knows, and what says that it is an integer."""

    def __index__(self) -> int:
        return 7


SEVENS = [7, *(kind(7) for kind in (*INTEGERS, *FLOATS)), np.array(7), np.array(7.0), Whole()]
SEVENS += [torch.tensor(7, dtype=kind) for kind in TENSORS]
NO_NUMBERS = [True, np.bool_(True), torch.tensor(True), "7", b"7", np.str_("7"), None, 7j, np.complex64(7), torch.tensor(7j)]
NO_NUMBERS += [[7], np.array([7]), torch.tensor([7]), np.datetime64(7, "s"), np.timedelta64(7, "s"), {}, object()]


@pytest.mark.parametrize("value", SEVENS, ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}")
def test_a_number_of_any_type_is_that_number(value):
    assert (integer(value), type(integer(value))) == (7, int)
    assert (number(value), type(number(value))) == (7.0, float)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    assert integer(value) is None
    assert number(value) is None
    with pytest.raises(AudioError, match="rate must be a whole number from 1 to 9, not"):
        whole(value, "rate", 1, 9, AudioError)


@pytest.mark.parametrize(
    "value", [7.5, np.float32(7.5), torch.tensor(7.5), math.nan, math.inf, np.float64("-inf"), Fraction(15, 2)]
)
def test_real_numbers_that_are_no_integers(value):
    assert integer(value) is None
    assert number(value) == pytest.approx(float(value), nan_ok=True)


@given(value=st.integers(-(10**30), 10**30), low=st.integers(-100, 100), high=st.integers(-100, 100))
def test_limits(value, low, high):
    assert integer(value) == operator.index(value)
    if low <= value <= high:
        assert whole(value, "x", low, high, TokensError) == value
    else:
        with pytest.raises(TokensError):
            whole(value, "x", low, high, TokensError)


def test_arrays_of_every_kind():
    rows = np.arange(6).reshape(2, 3)
    for value in (rows, rows.tolist(), tuple(map(tuple, rows)), torch.tensor(rows), torch.tensor(rows.T).T, memoryview(rows)):
        assert np.array_equal(as_array(value, "x", TokensError), rows)
    some = torch.tensor([0.5, 1.5])
    for value in (some, some.clone().requires_grad_(), some.bfloat16(), some.half()):
        assert np.array_equal(as_array(value, "x", TokensError), [0.5, 1.5])
    for value in ([[1, 2], [3]], torch.empty(3, device="meta"), torch.eye(3).to_sparse()):
        with pytest.raises(TokensError, match="x must be a numpy array, a torch tensor or lists of equal lengths"):
            as_array(value, "x", TokensError)


def test_what_a_message_repeats_of_a_value_is_short_and_one_line():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    for value in (np.zeros((100, 100)), "x" * 1000, "a\nb", 10**5000, Odd(), torch.zeros(50, 50)):
        assert len(shown(value)) <= 60
        assert "\n" not in shown(value)
    assert shown(2.5) == "2.5"
