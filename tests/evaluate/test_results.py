import json

import pyarrow.parquet as pq
import pytest

from mixcodec.errors import DataError
from mixcodec.evaluate.metrics import Scale
from mixcodec.evaluate.results import METADATA_KEY, CodebookUse, Results, Row, read_results, write_results


@pytest.fixture
def results():
    scales = [Scale("stoi", "STOI", -1.0, 1.0, True), Scale("mel_distance", "mel distance", 0.0, float("inf"), False)]
    rows = [
        Row("a.wav", 2.0, "opus@6", "opus", 6.0, "anna", "de", 1500, 1400, {"stoi": 0.9, "mel_distance": 1.5}),
        Row("b.wav", 1.0, "opus@6", "opus", 6.0, problems={"codec": "ProgramError: opusenc failed"}),
        Row("a.wav", 2.0, "identity", "identity", None, file_bytes=64044, payload_bytes=64044, scores={"stoi": 1.0}),
    ]
    return Results(
        rows, scales, ["opus@6", "identity"], [CodebookUse("x", 1, 4, 1.0, 4.0, 2.0, 1.0, 2.1)], {"command": "mixcodec eval"}
    )


def test_round_trip(tmp_path, results):
    write_results(tmp_path / "r.parquet", results)
    assert read_results(tmp_path / "r.parquet") == results


def test_results_of_before_the_marks_are_marked_as_today(tmp_path, results):
    """A file whose scales say nothing of losses, as older versions wrote it."""
    path = tmp_path / "r.parquet"
    write_results(path, results)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[METADATA_KEY])
    for scale in about["scales"]:
        for name in ("middle", "compares", "coarse", "followed"):
            del scale[name]
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about).encode()}), path)
    assert [scale.followed for scale in read_results(path).scales] == [True, True]
    assert read_results(path).rows == results.rows


def test_other_tools_read_it(tmp_path, results):
    write_results(tmp_path / "r.parquet", results)
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert rows[0]["kbps"] == pytest.approx(1500 * 8 / 2000)
    assert rows[1]["stoi"] is None
    assert json.loads(rows[1]["problems"]) == {"codec": "ProgramError: opusenc failed"}


def test_rates_count_what_was_coded(results):
    assert results.total_kbps("opus@6") == pytest.approx(6.0)
    assert results.total_kbps("opus@6", lambda row: row.payload_bytes) == pytest.approx(5.6)
    assert results.clips == ["a.wav", "b.wav"]


def test_what_is_no_results_file(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no")
    for name in ("x.parquet", "none.parquet"):
        with pytest.raises(DataError, match=r"results file|no such file"):
            read_results(tmp_path / name)
