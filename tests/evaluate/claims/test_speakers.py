import numpy as np
import pytest

from mixcodec.errors import UsageError
from mixcodec.evaluate.claims.speakers import two_takes


def unit(*numbers: float) -> np.ndarray:
    return np.array(numbers) / np.linalg.norm(numbers)


def test_cosines_within_and_across() -> None:
    a = [unit(1, 0, 0), unit(1, 1, 0), unit(1, 0, 1)]
    b = [unit(0, 0, 1), unit(0, 1, 1)]
    claim = two_takes({"a": a, "b": b, "alone": [unit(0, 1, 0)]})
    within_a = np.mean([np.sqrt(0.5), np.sqrt(0.5), 0.5])
    assert claim.numbers["one"] == pytest.approx((within_a + np.sqrt(0.5)) / 2)
    across = [np.mean([x @ y for x in a for y in b]), np.mean([x[1] for x in a]), np.mean([x[1] for x in b])]
    assert claim.numbers["two"] == pytest.approx(np.mean(across))
    assert [row[0] for row in claim.rows] == ["a", "b"]


def test_needs_two_takes() -> None:
    with pytest.raises(UsageError, match="two takes"):
        two_takes({"a": [unit(1, 0)], "b": [unit(0, 1)]})
