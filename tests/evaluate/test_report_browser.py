"""The report in a real browser, from disk, without a network: it draws, plays and switches, and loads nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly", reason="plotly is not installed: pip install 'mixcodec[eval]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'mixcodec[test]'")

from mixcodec.evaluate.metrics.base import Scale  # noqa: E402
from mixcodec.evaluate.report import Excerpt, Listening, Take, choose_clips, write_report  # noqa: E402
from mixcodec.evaluate.results import Results, Row  # noqa: E402

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the path")

SCALES = [
    Scale("stoi", "STOI", -1.0, 1.0, higher_is_better=True),
    Scale("mel_distance", "mel distance", 0.0, np.inf, higher_is_better=False),
]
HOSTILE = "<img src=x onerror=alert(1)>"
RATE, SECONDS = 16000, 2.0
FEW = ("opus@12", ("a.flac", "b.flac", "c.flac"))
"""A point that is left with too few clips for a violin."""


def make_results() -> Results:
    generator = np.random.default_rng(2)
    rows, points = [], []
    for codec, settings in {"mixcodec": (1, 2, 4), "opus": (6, 12), "identity": (None,)}.items():
        for setting in settings:
            points.append(codec if setting is None else f"{codec}@{setting}")
            for clip in ("a.flac", "b.flac", "c.flac", "d.flac", "e.flac", f"{HOSTILE}.flac"):
                score = 1.0 if setting is None else 0.6 + 0.02 * setting + generator.normal(0, 0.03)
                rows.append(Row(clip, SECONDS, points[-1], codec, setting, "", "en", 250 * (setting or 256)))
                rows[-1].scores = {"stoi": float(score), "mel_distance": float(2 - score)}
                if points[-1] == FEW[0] and clip not in FEW[1]:
                    rows[-1].scores = {}
                    rows[-1].problems = {"stoi": "no speech found", "mel_distance": "silence"}
    return Results(rows, SCALES, points, about={"command": f"mixcodec eval '{HOSTILE}'", "sample_rate": RATE})


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="module")
def report(results, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    time = np.arange(round(SECONDS * RATE)) / RATE
    tone = (0.2 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    excerpts = [
        Excerpt(clip, tone, RATE, {point: Take(tone * (0.5 + i / 20), RATE) for i, point in enumerate(results.points)})
        for clip in results.clips
    ]
    write_report(path, results, Listening(excerpts, choose_clips(results, 2)))
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser, report):
    """The report, opened offline once, and all that the browser complains of or asks for beside the file itself.

    What is waited for is given as a function: a bare expression would be evaluated by the page, whose policy forbids it.
    """
    context = browser.new_context(offline=True, color_scheme="light", viewport={"width": 1200, "height": 900})
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:100]}"))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    allowed = (report.as_uri(), "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(allowed) else complaints.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_function("() => [...document.querySelectorAll('.graph')].every((graph) => graph.querySelector('.main-svg'))")
    yield page, complaints
    context.close()


@pytest.fixture
def page(opened):
    """The page; a test after which the browser has complained fails."""
    page, complaints = opened
    yield page
    assert complaints == []


def kbps_and_mean(results, point, scale):
    rows = [row for row in results.rows if row.point == point and scale in row.scores]
    every = [row for row in results.rows if row.point == point]
    kbps = sum(row.file_bytes for row in every) * 8 / sum(row.seconds for row in every) / 1000
    return kbps, np.mean([row.scores[scale] for row in rows])


def test_the_plots_show_the_means_at_their_rates(page, results):
    for i, scale in enumerate(SCALES):
        traces = json.loads(
            page.evaluate(
                """(i) => JSON.stringify(document.querySelectorAll('.graph[data-kind="rate"]')[i].data
                    .filter((trace) => trace.mode === "lines+markers")
                    .map(({name, x, y, error_y}) => ({name, x, y, error_y})))""",
                i,
            )
        )
        assert [trace["name"] for trace in traces] == ["mixcodec", "opus"]
        for trace in traces:
            points = [point for point in results.points if point.split("@")[0] == trace["name"]]
            expected = [kbps_and_mean(results, point, scale.name) for point in points]
            assert list(zip(trace["x"], trace["y"], strict=True)) == [pytest.approx(pair, rel=1e-5) for pair in expected]
            assert all(plus > 0 for plus in trace["error_y"]["array"])
    assert page.locator('.graph[data-kind="rate"]').first.locator("path.point").count() == 5


def test_a_mark_tells_its_value_under_the_mouse(page, results):
    page.locator('.graph[data-kind="rate"] path.point').first.hover(force=True)
    told = page.locator('.graph[data-kind="rate"] .hovertext').first
    told.wait_for()
    _, mean = kbps_and_mean(results, "mixcodec@1", "stoi")
    assert "mixcodec@1" in told.text_content()
    assert f"{mean:.3f} [" in told.text_content()
    assert "n 6" in told.text_content()


def test_violins_and_dots(page):
    kinds = page.evaluate(
        """() => Object.fromEntries(document.querySelector('.graph[data-kind="spread"]').data
            .filter((trace) => trace.x.length > 1).map((trace) => [trace.name, trace.type]))"""
    )
    assert kinds.pop(FEW[0]) == "scatter"
    assert set(kinds.values()) == {"violin"}
    assert len(kinds) == 5


def test_a_clip_plays_and_another_goes_on_from_there(page):
    card = page.locator(".card:visible").first
    first, second = card.locator(".take").nth(0), card.locator(".take").nth(1)
    first.locator(".play").click()
    playing = "(audio) => audio.currentTime > 0.2 && !audio.paused"
    page.wait_for_function(playing, arg=first.locator("audio").element_handle())
    assert first.locator("audio").evaluate("(audio) => audio.duration") == pytest.approx(SECONDS, abs=0.01)
    before = first.locator("audio").evaluate("(audio) => audio.currentTime")
    second.locator(".play").click()
    page.wait_for_function(playing, arg=second.locator("audio").element_handle())
    assert first.locator("audio").evaluate("(audio) => audio.paused")
    assert second.locator("audio").evaluate("(audio) => audio.currentTime") >= before
    second.locator(".play").click()
    assert second.locator("audio").evaluate("(audio) => audio.paused")


def test_spectrograms_are_shown_side_by_side(page):
    card = page.locator(".card:visible").first
    card.scroll_into_view_if_needed()
    page.wait_for_function(
        "(card) => [...card.querySelectorAll('img')].every((image) => image.complete && image.naturalWidth === 400)",
        arg=card.element_handle(),
    )
    original, chosen = (card.locator(mark).bounding_box() for mark in (".take.original img", ".take.chosen img"))
    assert original["y"] == chosen["y"]
    assert original["x"] + original["width"] <= chosen["x"]


def test_the_worst_clips_of_a_point_come_first(page, results):
    for point in ("mixcodec@4", "opus@6"):
        page.locator("#listen-to").select_option(point)
        assert page.locator(".card:visible h3").all_text_contents() == choose_clips(results, 2)[point]
        assert page.locator(".card:visible .take.chosen").count() == 2
    page.locator("#listen-to").select_option("")
    assert page.locator(".card:visible").count() == len(results.clips)
    page.locator("details summary").click()
    jump = page.locator(".jump[data-point='mixcodec@1']").first
    jump.click()
    assert page.locator("#listen-to").input_value() == "mixcodec@1"


def test_a_baseline_can_be_chosen(page, results):
    page.locator("#baseline").select_option(label="opus@6")
    rows = page.locator("#differences .panel:visible tbody tr")
    assert rows.count() == len(results.points) - 1
    shown = float(rows.first.locator("td.mean").first.get_attribute("data-mean"))
    ours, theirs = (kbps_and_mean(results, point, "stoi")[1] for point in ("mixcodec@1", "opus@6"))
    assert shown == pytest.approx(ours - theirs)


def test_a_codec_can_be_taken_off_the_plots(page):
    page.locator(".key", has_text="opus").click()
    page.wait_for_function("() => document.querySelector('.graph').querySelectorAll('path.point').length === 3")
    page.locator(".key", has_text="opus").click()
    page.wait_for_function("() => document.querySelector('.graph').querySelectorAll('path.point').length === 5")


def test_names_stay_text_and_a_phone_need_not_scroll_sideways(page):
    assert page.locator("img[src='x']").count() == 0
    assert HOSTILE in page.locator("pre.command").first.text_content()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.documentElement.scrollWidth === 390")


def test_the_dark_page_has_dark_plots(page):
    look = """() => [getComputedStyle(document.body).backgroundColor, document.querySelector('.graph').layout.font.color,
        document.querySelector('.graph').data[0].line.color]"""
    light = page.evaluate(look)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("(font) => document.querySelector('.graph').layout.font.color !== font", arg=light[1])
    dark = page.evaluate(look)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    page.emulate_media(color_scheme="light")
