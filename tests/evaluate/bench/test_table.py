"""The printed tables, from fixed samples."""

import pytest

from mixcodec.evaluate.bench.results import BenchResults, Flops, Memory, Sample, Speed, Startup, Subject
from mixcodec.evaluate.bench.table import markdown, number, report


@pytest.fixture
def results():
    """Ours 100 times real time at a tenth of a second of CPU, a peer 4 times with two threads' worth of CPU."""
    ours, theirs = [Sample(0.05, 0.1), Sample(0.1, 0.1), Sample(0.2, 0.1)], [Sample(2.5, 5.0)] * 3
    return BenchResults(
        about={
            "machine": {"cpu": "Abacus", "cores": 2},
            "load_before": 0.1,
            "load_after": 1.5,
            "busy_cores": 0.02,
            "date": "today",
            "versions": {"python": "3.11"},
            "audio": "voice",
        },
        subjects=[Subject("own", "mixcodec", "Own 4 kbps", 16000, "here"), Subject("it", "neural", "It", 24000, "there")],
        ours="own",
        startup=[Startup("base", [Sample(0.3, 0.2)], True), Startup("command", [Sample(0.4, 0.25)])],
        speed=[
            Speed(name, 1, way, 10.0, samples)
            for name, samples in (("own", ours), ("it", theirs))
            for way in ("encode", "decode")
        ],
        memory=[
            Memory("own", "encode", 60, 80.0),
            Memory("own", "encode", 600, 80.4),
            Memory("it", "encode", 60, 1600.0),
            Memory("it", "encode", 600, None, "over 8 GB"),
        ],
        flops=[
            Flops("own", "encode", 0.5e9),
            Flops("own", "decode", 1e9),
            Flops("it", "encode", 5e9),
            Flops("it", "decode", 5e9, ["Einsum"]),
        ],
        not_measured={"absent": "needs absence"},
        warnings=["somebody is busy"],
    )


def cells(text, first):
    """The cells of the rows whose first cell is this."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_every_ratio_is_that_of_the_medians(results):
    text = report(results)
    speeds, arithmetic = cells(text, "It")
    assert speeds == ["It", "4.00", "4.00-4.00", "2.00", "25.0", "50.0", "4.00", "4.00-4.00", "2.00", "25.0", "50.0", "3/3"]
    assert arithmetic == ["It", "5.00", "10.0", "at least 5.00", "5.00"]
    assert cells(text, "Own 4 kbps")[0][:6] == ["Own 4 kbps", "100", "50.0-200", "100", "1.00", "1.00"]
    assert cells(text, "It encode") == [["It encode", "1600", "20.0", "over 8 GB", "-"]]
    assert cells(text, "Own 4 kbps encode") == [["Own 4 kbps encode", "80", "1.00", "80", "1.00"]]
    assert cells(text, "command") == [["command", "0.250", "0.250-0.250", "0.400", "0.400-0.400", "1.25", "1"]]


def test_what_disturbs_and_what_is_missing_is_said(results):
    text = report(results)
    assert "Abacus, 2 cores; load average 0.1 before and 1.5 after, other processes 0.02 cores; today" in text
    assert "\nwarning: somebody is busy\n" in text
    assert text.endswith("- absent: not measured: needs absence")


def test_json_holds_the_raw_samples_and_their_spread(results):
    plain = results.to_json()
    first = plain["speed"][0]
    assert (first["subject"], first["direction"], first["threads"]) == ("own", "encode", 1)
    assert first["samples"][1] == {"wall": 0.1, "cpu": 0.1}
    assert first["times_real_wall"] == {"median": 100.0, "low": 50.0, "high": 200.0}
    assert first["times_real_cpu"]["median"] == pytest.approx(100)
    assert plain["startup"][1]["cpu"] == {"median": 0.25, "low": 0.25, "high": 0.25}


def test_markdown_columns_are_aligned():
    lines = markdown([["name", "n"], ["a", "10"], ["longer", "2000"]]).splitlines()
    assert lines == ["| name   |    n |", "| ------ | ---: |", "| a      |   10 |", "| longer | 2000 |"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0421, "0.0421"), (1.0, "1.00"), (12.345, "12.3"), (99.96, "100"), (123.4, "123"), (4567.8, "4568")]
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert number(value) == text
