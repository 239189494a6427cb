"""Packed codes: against Python's own big integers, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcodec.evaluate.baselines.bits import pack, packed_bytes, unpack


def by_hand(codes: list[int], bits: int) -> bytes:
    text = "".join(f"{code:0{bits}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


@given(st.data(), st.integers(1, 16))
def test_pack_is_the_binary_digits_in_a_row(data, bits):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(codes, np.int64), bits)
    assert packed == by_hand(codes, bits)
    assert len(packed) == packed_bytes(len(codes), bits)
    assert unpack(packed, len(codes), bits).tolist() == codes


def test_ten_bit_codes_cost_ten_bits():
    assert len(pack(np.full((100, 8), 1023), 10)) == 1000


def test_filling_bits_must_be_zero():
    with pytest.raises(ValueError, match="filling"):
        unpack(b"\x00\x3f", 1, 10)


def test_length_must_fit():
    with pytest.raises(ValueError, match="take 2 bytes"):
        unpack(b"\x00", 1, 10)
