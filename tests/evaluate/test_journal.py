import numpy as np

from mixcodec.evaluate.journal import Journal, measurement_key
from mixcodec.evaluate.measure import Measured
from mixcodec.evaluate.results import Row


def measured(clip, codes=None):
    row = Row(clip, 1.5, "opus@6", "opus", 6.0, "anna", "de", 100, 90, {"stoi": 0.1 + 0.2}, {"pesq_wb": "no speech"})
    return Measured(row, codes, 1024 if codes is not None else 0)


def test_what_was_written_is_there_again(tmp_path):
    codes = np.random.default_rng(0).integers(0, 1024, (75, 8))
    with Journal(tmp_path / "j") as journal:
        journal.add("one", measured("a.wav"))
        journal.add("two", measured("b.wav", codes))
    with Journal(tmp_path / "j") as journal:
        assert journal.done["one"] == measured("a.wav")
        assert (journal.done["two"].codes == codes).all()
        assert journal.done["two"].codebook_size == 1024


def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add("one", measured("a.wav"))
        journal.add("two", measured("b.wav"))
    whole = path.read_bytes()
    ends = [whole.index(b"\n"), len(whole) - 1]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with Journal(path) as journal:
            assert set(journal.done) == {key for key, end in zip(("one", "two"), ends, strict=True) if end <= length}
            journal.add("three", measured("c.wav"))
        with Journal(path) as journal:
            assert "three" in journal.done


def test_a_damaged_line_counts_as_absent(tmp_path):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add("one", measured("a.wav"))
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with Journal(path) as journal:
        assert not journal.done


def test_keys_differ_where_anything_differs():
    assert measurement_key(["a", 1]) == measurement_key(["a", 1])
    assert len({measurement_key(parts) for parts in (["a", 1], ["a", "1"], ["a1"], ["a", 1, None])}) == 4
