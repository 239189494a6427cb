"""The report: every number against numpy, every failure named, nothing from outside, no name that becomes markup."""

import base64
import copy
import dataclasses
import hashlib
import html
import io
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mixcodec.evaluate.metrics.base import FOLLOWED, Scale
from mixcodec.evaluate.report import Excerpt, Listening, Take, choose_clips, summary_markdown, write_report
from mixcodec.evaluate.report.figures import rate_figures, spread_figures
from mixcodec.evaluate.report.findings import Findings
from mixcodec.evaluate.report.markup import safe_json
from mixcodec.evaluate.report.media import MOST_SECONDS, PCM_BUDGET, excerpt_seconds
from mixcodec.evaluate.report.spectrogram import HEIGHT, power_grid
from mixcodec.evaluate.report.tables import (
    Mean,
    bd_table,
    breakdown_table,
    failure_table,
    nearest_table,
    pair_tables,
    scale_column,
)
from mixcodec.evaluate.results import CodebookUse, Results, Row
from mixcodec.evaluate.statistics import bd_rate

pytest.importorskip("plotly", reason="plotly is not installed: pip install 'mixcodec[eval]'")
pytest.importorskip("PIL", reason="Pillow is not installed: pip install 'mixcodec[eval]'")

PESQ = Scale("pesq_wb", "PESQ-WB", 1.0, 4.64, higher_is_better=True)
MEL = Scale("mel_distance", "mel distance", 0.0, np.inf, higher_is_better=False)
CURVES = {"mixcodec:speech-16k": {1: 1.3, 2: 1.6, 4: 2.0}, "opus": {6: 1.9, 12: 2.9}, "codec2": {1.2: 1.1, 3.2: 1.4}}
HOSTILE = '<img src=x onerror="alert(1)">'
ENDING = "</script><script>alert(2)</script>"
RATE = 8000


def make_results(clips: int = 8) -> Results:
    """Four codecs (one an anchor) on clips of three speakers; codec2@1.2 fails on one clip, PESQ on another."""
    generator = np.random.default_rng(5)
    names = [f"de/anna/{i}.flac" if i % 2 else f"en/{'bob' if i % 4 else 'cleo'}/{i}.flac" for i in range(clips)]
    ease = generator.normal(0, 0.1, clips)
    rows, points = [], []
    for codec, curve in {**CURVES, "identity": {None: 4.64}}.items():
        for setting, level in curve.items():
            point = codec if setting is None else f"{codec}@{setting:g}"
            points.append(point)
            for i, clip in enumerate(names):
                score = level if setting is None else level + ease[i] + generator.normal(0, 0.02)
                seconds = 2 + i / 4
                size = round((256 if setting is None else setting) * 125 * seconds) + 48
                language, speaker = clip.split("/")[:2]
                rows.append(Row(clip, seconds, point, codec, setting, speaker, language, size, size - 48))
                rows[-1].scores = {"pesq_wb": float(score), "mel_distance": float(2 / score)}
                if point == "codec2@1.2" and i == 3:
                    rows[-1] = Row(clip, seconds, point, codec, setting, speaker, language)
                    rows[-1].problems = {"codec": "c2enc ended with status 1"}
                if point == "opus@6" and i == 2:
                    del rows[-1].scores["pesq_wb"]
                    rows[-1].problems = {"pesq_wb": "no speech found"}
    about = {
        "command": "mixcodec eval corpus --codecs 'mixcodec@1,2,4 opus@6,12'",
        "sample_rate": RATE,
        "versions": {"opus": "libopus 1.4"},
        "delays": {"opus@6": 312},
    }
    books = [CodebookUse("mixcodec:speech-16k@1", k, 1024, 0.97, 733.25, 9.41, 8.83, 10.12) for k in (1, 2)]
    return Results(rows, [PESQ, MEL], points, books, about)


def make_listening(results: Results, seconds: float = 0.5) -> Listening:
    """Noise for the worst clips: other noise for every clip and point, so that every sound is another one."""
    worst = choose_clips(results, 2)
    failed = {(row.clip, row.point) for row in results.rows if row.file_bytes is None}
    excerpts = []
    for i, clip in enumerate(dict.fromkeys(itertools.chain(*worst.values()))):
        noise = np.random.default_rng(i).normal(0, 0.1, (len(results.points) + 1, round(seconds * RATE))).astype(np.float32)
        takes = {p: Take(noise[j + 1], RATE) for j, p in enumerate(results.points) if (clip, p) not in failed}
        excerpts.append(Excerpt(clip, noise[0], RATE, takes))
    return Listening(excerpts, worst)


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="module")
def page(results, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, results, make_listening(results))
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """What a browser would see: every element with its attributes, the text, and the content of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data


def without_plotly(page: str) -> str:
    return re.sub(r"<script>/\*\*?\s*\* plotly.*?</script>", "", page, count=1, flags=re.DOTALL)


def bootstrap(values) -> tuple[float, float, float]:
    """Mean and percentile interval, one resample after the other."""
    values = np.asarray(values)
    picks = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    means = np.sort([np.mean([values[i] for i in row]) for row in picks])
    return float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def scores_of(results, point, scale):
    return {row.clip: row.scores[scale] for row in results.rows if row.point == point and scale in row.scores}


def test_means_in_the_page_are_those_of_numpy_each_with_interval_and_n(results, page):
    table = page[page.index('<section id="points">') : page.index('<section id="listen">')]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    assert len(rows) == len(results.points)
    for point, row in zip(results.points, rows, strict=True):
        cells = re.findall(r'data-mean="(.*?)" data-low="(.*?)" data-high="(.*?)" data-n="(\d+)">(.*?)</td>', row)
        assert len(cells) == 2
        row_n = int(re.search(r'class="number count">(\d+)<', row)[1])
        for scale, cell in zip(results.scales, cells, strict=True):
            values = list(scores_of(results, point, scale.name).values())
            expected = bootstrap(values)
            assert [float(x) for x in cell[:3]] == pytest.approx(expected, abs=1e-9)
            shown = re.sub("<.*?>", "", cell[4]).replace("−", "-")
            assert shown.startswith("{:.3f} [{:.3f}, {:.3f}]".format(*expected))
            assert int(cell[3]) == len(values)
            assert len(values) == row_n or shown.endswith(f", n {len(values)}")


def test_no_mean_anywhere_without_interval_and_n(page, results):
    means = re.findall(r'<td class="number mean[^"]*"([^>]*)>(.*?)</td>', page)
    assert len(means) > 100
    for data, shown in means:
        assert re.search(r'data-low=".+" data-high=".+" data-n="[1-9]', data)
        n = int(re.search(r'data-n="(\d+)"', data)[1])
        interval = re.search(r'class="interval">\[(.*?)\]<', shown)[1]
        assert ("," in interval) if n > 1 else interval == "–"
    tables = re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    assert all('title="clips">n</th>' in table for table in tables if "data-mean" in table)
    lines = summary_markdown(results).splitlines()
    for i, line in enumerate(lines):
        if re.search(r"\d \[[-+\d]", line) or "[–]" in line:
            header = next(lines[j] for j in range(i, 0, -1) if lines[j + 1].startswith("| ---"))
            assert "| n |" in header


def test_markdown_states_the_same_numbers(results):
    text = summary_markdown(results)
    for point in results.points:
        line = next(line for line in text.splitlines() if line.startswith(f"| {point} |"))
        rows = [row for row in results.rows if row.point == point and row.file_bytes]
        kbps = sum(r.file_bytes for r in rows) * 8 / 1000 / sum(r.seconds for r in rows)
        assert line.split(" | ")[1] == f"{kbps:.2f}"
        for scale in results.scales:
            expected = bootstrap(list(scores_of(results, point, scale.name).values()))
            assert "{:.3f} [{:.3f}, {:.3f}]".format(*expected) in line
    assert "(n 7)" in next(line for line in text.splitlines() if line.startswith("| opus@6 |"))
    for fact in (results.about["command"], "libopus 1.4", "312", "39.00", "733.2", "97.0 %", "8 clips"):
        assert fact in text


def test_differences_are_paired_over_shared_clips(results):
    findings = Findings(results)
    ours, theirs = (scores_of(results, point, "pesq_wb") for point in ("mixcodec:speech-16k@2", "opus@6"))
    expected = bootstrap([ours[clip] - theirs[clip] for clip in ours if clip in theirs])
    found = next(row for row in pair_tables(findings)["opus@6"].rows if row[0] == "mixcodec:speech-16k@2")[2]
    assert isinstance(found, Mean)
    assert (found.estimate.mean, found.estimate.low, found.estimate.high) == pytest.approx(expected, abs=1e-9)
    assert found.estimate.n == 7
    assert found.verdict == "worse"
    lower_is_better = next(row for row in pair_tables(findings)["opus@6"].rows if row[0] == "opus@12")[3]
    assert lower_is_better.estimate.mean < 0
    assert lower_is_better.verdict == "better"
    rivals = [(row[0].split("@")[1], row[2]) for row in nearest_table(findings).rows]
    assert rivals == [
        ("1", "opus@6"),
        ("1", "codec2@1.2"),
        ("2", "opus@6"),
        ("2", "codec2@3.2"),
        ("4", "opus@6"),
        ("4", "codec2@3.2"),
    ]


def test_figures_that_a_loss_follows_are_marked_and_explained(results):
    """In every table that shows one, in Markdown and on the page; nothing else is."""
    followed = dataclasses.replace(PESQ, followed=True)
    marked = dataclasses.replace(results, scales=[followed, MEL])
    tables = re.split(r"^## ", summary_markdown(marked), flags=re.MULTILINE)[1:]
    shown = [
        table for table in tables if re.search(r"^\|.*PESQ-WB †", table, re.MULTILINE) or "PESQ-WB †" in table.splitlines()[0]
    ]
    assert len(shown) >= 4
    assert all(table.count(FOLLOWED) == 1 for table in shown)
    assert not any(FOLLOWED in table for table in tables if table not in shown)
    assert "mel distance †" not in summary_markdown(marked)
    assert "†" not in summary_markdown(results)


def test_the_page_marks_them_too(results, tmp_path):
    marked = dataclasses.replace(results, scales=[dataclasses.replace(PESQ, followed=True), MEL])
    write_report(tmp_path / "report.html", marked, make_listening(marked))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "PESQ-WB ↑" not in page
    assert "PESQ-WB † ↑" in page
    assert html.escape(FOLLOWED) in page
    assert '"PESQ-WB"' not in page, "nor a plot without it"


def test_a_change_that_is_best_at_zero(results):
    """Its column says so; nearer is better, only where both lie on one side; and the clip furthest from 0 is the worst."""
    change = Scale("change", "change", -9.0, 9.0, False, unit="dB", digits=1, middle=0.0)
    ours = dataclasses.replace(results, scales=[change], rows=copy.deepcopy(results.rows))
    levels = {"opus@6": -3.0, "opus@12": -1.0, "codec2@1.2": 2.0, "codec2@3.2": 0.0}
    for i, row in enumerate(ours.rows):
        row.scores = {"change": levels.get(row.point, 0.5) + 0.01 * (i % 8)}
    assert scale_column(change).title == "change, dB → 0"
    assert scale_column(change).hint == "nearer to 0 is better"
    assert "dB → 0" in summary_markdown(ours)
    cells = {row[0]: row[2] for row in pair_tables(Findings(ours))["opus@6"].rows}
    assert cells["opus@12"].verdict == "better"
    assert cells["codec2@1.2"].verdict == "", "on the other side: a difference, for better or worse who knows"
    cells = {row[0]: row[2] for row in pair_tables(Findings(ours))["opus@12"].rows}
    assert cells["opus@6"].verdict == "worse"
    for point in ("opus@6", "codec2@1.2"):
        values = {row.clip: abs(row.scores["change"]) for row in ours.rows if row.point == point and row.scores}
        assert choose_clips(ours, 1)[point] == [max(values, key=values.get)]


def test_bjontegaard_rates_are_of_the_shared_clips(results):
    table = bd_table(Findings(results))
    cell = next(row for row in table.rows if row[:2] == ["codec2", "mixcodec:speech-16k"])[2]
    curves = []
    for codec in ("mixcodec:speech-16k", "codec2"):
        points = [point for point in results.points if point.startswith(codec)]
        kept = {p: [r for r in results.rows if r.point == p and r.clip != "de/anna/3.flac"] for p in points}
        curves.append([sum(r.file_bytes for r in rows) * 0.008 / sum(r.seconds for r in rows) for rows in kept.values()])
        curves.append([np.mean([r.scores["pesq_wb"] for r in rows]) for rows in kept.values()])
    assert cell == f"{bd_rate(*curves):+.1f} % (n 7)"
    assert bd_rate(*curves) > 0
    assert not any("identity" in row[:2] for row in table.rows)


def test_breakdown_by_language_and_speaker(results, page):
    findings = Findings(results)
    for by in ("language", "speaker"):
        table = breakdown_table(findings, by, PESQ)
        for row in table.rows:
            clips = [r for r in results.rows if getattr(r, by) == row[0] and r.point == "opus@12"]
            cell = row[2 + results.points.index("opus@12")]
            assert cell.estimate.mean == pytest.approx(np.mean([r.scores["pesq_wb"] for r in clips]))
            assert cell.estimate.n == len(clips) == int(row[1])
    assert [row[0] for row in breakdown_table(findings, "speaker", PESQ).rows] == ["anna", "bob", "cleo"]
    assert "PESQ-WB ↑ by speaker" in page
    assert "mel distance ↓ by language" in page


def test_failures_are_told_with_their_reasons(results, page):
    for text in (page, summary_markdown(results)):
        assert "c2enc ended with status 1" in text
        assert "no speech found" in text
        assert "Nothing to hear: c2enc ended with status 1" in text or text is not page
    assert "1 clip not coded (1 coding) and 1 score missing" in page
    table = failure_table(Findings(results))
    assert [row[:2] + row[3:] for row in table.rows] == [
        ["opus@6", "PESQ-WB", "en/bob/2.flac"],
        ["codec2@1.2", "codec", "de/anna/3.flac"],
    ]


def test_what_is_missing_without_a_reason_is_told_too():
    results = make_results()
    results.rows = [row for row in results.rows if (row.point, row.clip) != ("opus@12", "de/anna/1.flac")]
    results.rows[0].scores["pesq_wb"] = float("nan")
    results.rows[1].scores.clear()
    told = [row[2] for row in failure_table(Findings(results)).rows]
    assert "not in the results" in told
    assert "gave nan" in told
    assert told.count("no value, and no reason given") == 2
    assert Findings(results).estimate(results.points[0], PESQ).n == 6


def test_large_failures_are_counted_not_dropped():
    results = make_results(200)
    for row in results.rows:
        row.scores.pop("mel_distance", None)
    table = failure_table(Findings(results))
    assert sum(int(row[3]) for row in table.rows) == 8 * 200 + 1


def test_hostile_names_stay_text(tmp_path):
    results = make_results()
    for row in results.rows:
        row.clip = row.clip.replace("de/anna/3", HOSTILE).replace("en/cleo/0", ENDING)
        row.speaker = row.speaker.replace("bob", HOSTILE)
        row.point = row.point.replace("codec2@3.2", f"codec2{HOSTILE}")
        row.codec = row.codec.replace("codec2", ENDING)
    results.points = [point.replace("codec2@3.2", f"codec2{HOSTILE}") for point in results.points]
    results.rows[0].problems["mel_distance"] = ENDING
    results.about |= {"command": f"mixcodec eval {ENDING}", "versions": {HOSTILE: ENDING}}
    write_report(tmp_path / "report.html", results, make_listening(results))
    reader = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(reader.scripts) == 4
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert all("src" not in attributes for _, attributes in reader.elements)
    assert reader.text.count(ENDING) >= 4  # command, clip, version, reason
    assert HOSTILE in reader.text
    figures = json.loads(reader.scripts[0])
    told = json.dumps(figures)
    assert "onerror" in told
    assert "<img" not in told
    assert "</script>" not in told
    text = summary_markdown(results)
    assert "<img" not in text
    assert text.count("<script>") == 1  # in the command line alone, which is fenced


def test_nothing_is_loaded_from_anywhere(page):
    reader = Reader(page)
    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    own = without_plotly(page)
    assert len(own) < len(page) - 1e6
    assert "http://" not in own
    assert "https://" not in own
    assert "@import" not in own
    policy = next(attributes["content"] for _, attributes in reader.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; ")
    for script in reader.scripts[2:]:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_every_sound_is_embedded_once_and_can_be_decoded(results, page):
    listening = make_listening(results)
    uris = json.loads(Reader(page).scripts[1])
    sounds = [uri for uri in uris.values() if uri.startswith("data:audio/flac;base64,")]
    assert len(sounds) == len(set(sounds)) == sum(1 + len(excerpt.takes) for excerpt in listening.excerpts)
    for uri in uris.values():
        assert page.count(uri.split(",")[1]) == 1
    cards = re.findall(r'<article class="card".*?</article>', page, re.DOTALL)
    for excerpt, card in zip(listening.excerpts, cards, strict=True):
        keys = dict(re.findall(r'data-point="([^"]*)" data-sound="(\w+)"', card))
        assert set(keys) == set(excerpt.takes)
        for point, key in keys.items():
            wave, rate = soundfile.read(io.BytesIO(base64.b64decode(uris[key].split(",")[1])), dtype="float32")
            assert rate == RATE
            np.testing.assert_allclose(wave, excerpt.takes[point].wave, atol=1 / 32768)


def test_equal_sounds_share_one_copy_and_long_ones_are_cut(tmp_path):
    results = make_results()
    listening = make_listening(results, seconds=9)
    for excerpt in listening.excerpts:
        excerpt.takes["identity"] = Take(excerpt.reference.copy(), RATE)
        excerpt.takes["opus@6"] = Take(np.stack([excerpt.reference] * 2), RATE)
    write_report(tmp_path / "report.html", results, listening)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    uris = json.loads(Reader(page).scripts[1])
    original = re.search(r'class="take original" data-sound="(\w+)"', page)[1]
    assert original == re.search(r'data-point="identity" data-sound="(\w+)"', page)[1]
    for uri in uris.values():
        if uri.startswith("data:audio"):
            assert soundfile.info(io.BytesIO(base64.b64decode(uri.split(",")[1]))).duration == MOST_SECONDS


def test_many_takes_are_cut_to_the_budget():
    wave = np.zeros((2, 48000), np.float32)
    takes = {f"opus@{i}": Take(wave, 48000) for i in range(30)}
    listening = Listening([Excerpt(str(i), wave, 48000, takes) for i in range(2)])
    assert excerpt_seconds(listening) * 62 * 2 * 2 * 48000 == pytest.approx(PCM_BUDGET)


def test_worst_clips_are_the_worst_of_each_point(results):
    chosen = choose_clips(results, 3)
    for point in results.points:
        scores = scores_of(results, point, "pesq_wb")
        assert chosen[point] == sorted(scores, key=lambda clip: (scores[clip], clip))[:3]
    results = make_results()
    results.scales = [MEL]
    for point, clips in choose_clips(results, 2).items():
        scores = scores_of(results, point, "mel_distance")
        assert clips == sorted(scores, key=lambda clip: (-scores[clip], clip))[:2]


def test_equal_results_give_equal_bytes(results, page, tmp_path):
    write_report(tmp_path / "again.html", make_results(), make_listening(make_results()))
    assert (tmp_path / "again.html").read_bytes() == page.encode("utf-8")
    assert summary_markdown(results) == summary_markdown(make_results())


def test_anchors_do_not_squash_the_axes(results):
    findings = Findings(results)
    assert findings.off_axis() == ["identity"]
    for figure in rate_figures(findings):
        assert 10 ** figure["x_range"][1] < 20
        drawn = [trace["name"] for trace in figure["traces"] if trace.get("level")]
        assert drawn or "identity" in figure["left_off"][0]
    alone = make_results()
    alone.rows = [row for row in alone.rows if row.codec == "identity"]
    assert Findings(alone).off_axis() == []


def test_violins_hold_a_fixed_share_of_many_clips():
    results = make_results(700)
    figure = spread_figures(Findings(results))[0]
    assert figure["sampled"]
    assert all(len(trace["x"]) == 500 for trace in figure["traces"])
    assert figure == spread_figures(Findings(make_results(700)))[0]
    mean = np.mean(list(scores_of(results, "opus@12", "pesq_wb").values()))
    assert next(trace for trace in figure["traces"] if trace["name"] == "opus@12")["mean"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("keep", ["one clip", "one point", "all failed", "no scales", "nothing"])
def test_small_results_make_a_report(keep, tmp_path: Path):
    results = make_results(1 if keep == "one clip" else 4)
    if keep == "one point":
        results = Results(results.of_point("opus@6"), results.scales, ["opus@6"])
    if keep == "all failed":
        results.rows = [Row(row.clip, row.seconds, row.point, row.codec, row.setting) for row in results.rows]
    if keep == "no scales":
        results.scales = []
    if keep == "nothing":
        results = Results([], [PESQ], ["opus@6"])
    write_report(tmp_path / "report.html", results, make_listening(results))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "opus@6" in page
    assert not re.search(r"\bnan\b", without_plotly(page), re.IGNORECASE)
    assert not re.search(r"\bnan\b", summary_markdown(results), re.IGNORECASE)
    if keep == "one clip":
        assert '<span class="interval">[–]</span>' in page
        assert not any(trace["violin"] for trace in spread_figures(Findings(results))[0]["traces"])


def test_a_spectrogram_puts_a_tone_where_it_belongs():
    time = np.arange(4000) / RATE
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    tone[2000:] = 0
    grid = power_grid(tone, RATE, 0.5, RATE / 2)
    row = int(grid[:, : grid.shape[1] // 2].sum(axis=1).argmax())
    assert row == pytest.approx(HEIGHT * (1 - 1000 / 4000), abs=2)  # the top is half the sample rate
    assert grid[row, 10] > 1e6 * grid[row, -40]
    assert power_grid(tone, RATE, 0.5, RATE)[: HEIGHT // 2 - 1].max() == 0  # above half the sample rate


def test_data_in_a_script_cannot_end_it():
    data = {ENDING: ["<!--", "a & b", 1.5, None]}
    text = safe_json(data)
    assert not set("<>&") & set(text)
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="JSON"):
        safe_json([float("nan")])
