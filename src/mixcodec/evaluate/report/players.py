"""The listening section: for each clip, the original and every operating point with player, spectrogram and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mixcodec.evaluate.report.findings import Findings, ranking_scale
from mixcodec.evaluate.report.listening import Excerpt, Listening
from mixcodec.evaluate.report.markup import escape, point_html
from mixcodec.evaluate.report.media import Store, embed_excerpt, excerpt_seconds
from mixcodec.evaluate.report.spectrogram import RANGE_DB
from mixcodec.evaluate.report.tables import fixed


def listening_html(findings: Findings, listening: Listening, store: Store, colours: Mapping[str, str]) -> str:
    """The section; sounds and pictures go into `store`, and the page refers to them by key."""
    if not listening.excerpts:
        return '<p class="note">No clip was kept to listen to.</p>'
    seconds = excerpt_seconds(listening)
    held = {excerpt.clip: f"clip-{i}" for i, excerpt in enumerate(listening.excerpts)}
    worst = {point: [clip for clip in listening.worst.get(point, []) if clip in held] for point in findings.points}
    cards = "".join(_card(findings, e, held[e.clip], worst, store, seconds, colours) for e in listening.excerpts)
    note = (
        f"The first {seconds:.3g} s of each clip at most, 16-bit, levels as they came. Spectrograms: frequency from 0 to half "
        f"the sample rate of the original, linear; colour from {RANGE_DB:.0f} dB below the loudest spot of the original (dark) "
        "up to it (bright). Starting another player of a clip goes on where the one before was; a click on a spectrogram "
        "starts there."
    )
    return f'{_chooser(findings, worst, held, colours)}<p class="note">{escape(note)}</p><div id="cards">{cards}</div>'


def _chooser(findings: Findings, worst: dict[str, list[str]], held: dict[str, str], colours: Mapping[str, str]) -> str:
    scale = ranking_scale(findings.results)
    options = rows = ""
    for point, clips in worst.items():
        if clips:
            cards = " ".join(held[clip] for clip in clips)
            options += f'<option value="{escape(point)}" data-cards="{cards}">worst {len(clips)} of {escape(point)}</option>'
            jumps = "".join(_jump(findings, point, clip, held) for clip in clips)
            rows += f'<tr><th scope="row">{point_html(point, colours)}</th><td>{jumps}</td></tr>'
    by = f" by {escape(scale.title)}, the worst first" if scale else ""
    index = f"<details><summary>Worst clips of every operating point</summary><table>{rows}</table></details>" if rows else ""
    choice = f'<label>Show the <select id="listen-to">{options}<option value="">all {len(held)} clips</option></select></label>'
    return f'<p class="choice">{choice}<span>{by if rows else ""}</span></p>{index}'


def _jump(findings: Findings, point: str, clip: str, held: dict[str, str]) -> str:
    scale = ranking_scale(findings.results)
    value = findings.values(point, scale).get(clip) if scale else None
    told = f" <small>{value:.{scale.digits}f}</small>" if scale and value is not None else ""
    short = clip.rsplit("/", 1)[-1]
    return (
        f'<button type="button" class="jump" data-point="{escape(point)}" data-card="{held[clip]}" title="{escape(clip)}">'
        f"{escape(short)}{told}</button>"
    )


def _card(
    findings: Findings,
    excerpt: Excerpt,
    name: str,
    worst: dict[str, list[str]],
    store: Store,
    seconds: float,
    colours: Mapping[str, str],
) -> str:
    keys = embed_excerpt(store, excerpt, seconds)
    length = excerpt.reference.shape[-1] / excerpt.sample_rate
    row = next((rows[excerpt.clip] for rows in findings.rows.values() if excerpt.clip in rows), None)
    facts = [row.language, row.speaker] if row else []
    facts = [fact for fact in facts if fact] + [f"{length:.1f} s" + (f", {seconds:.3g} s here" if length > seconds else "")]
    badges = _badges(findings, excerpt.clip, worst, colours)
    ends = (excerpt.sample_rate / 2000, min(length, seconds))
    takes = [_take(None, "original", f"{excerpt.sample_rate / 1000:g} kHz", "", keys[None], excerpt.clip, ends, "")]
    for point in findings.points:
        scores = _scores(findings, point, excerpt.clip)
        rate = _rate(findings, point, excerpt.clip)
        if point in keys:
            takes.append(_take(point, point, rate, scores, keys[point], excerpt.clip, ends, colours[point]))
        else:
            reason = "; ".join(sorted({f.reason for f in findings.failures_of(point, excerpt.clip)})) or "not kept"
            head = f'<figcaption><span>{point_html(point, colours)}<span class="rate">{rate}</span></span></figcaption>'
            silent = f'<div class="silent">Nothing to hear: {escape(reason)}</div>'
            takes.append(f'<figure class="take" data-point="{escape(point)}">{head}{silent}{scores}</figure>')
    head = f"<header><h3>{escape(excerpt.clip)}</h3><p>{escape(' · '.join(facts))}</p>{badges}</header>"
    return f'<article class="card" id="{name}">{head}<div class="takes">{"".join(takes)}</div></article>'


def _badges(findings: Findings, clip: str, worst: dict[str, list[str]], colours: Mapping[str, str]) -> str:
    """One for each codec that has this clip among its worst, with the places it takes as its title."""
    places: dict[str, list[str]] = {}
    tints = {}
    for point, clips in worst.items():
        if clip in clips:
            codec = findings.codec_of[point]
            places.setdefault(codec, []).append(f"no. {clips.index(clip) + 1} of {point}")
            tints[codec] = colours[point]
    items = ""
    for codec, told in places.items():
        short = told[0] if len(told) == 1 else f"{codec}, {len(told)} points"
        items += f'<li class="{tints[codec]}" title="{escape("; ".join(told))}">{escape(short)}</li>'
    return f'<ul class="badges" aria-label="among the worst of">{items}</ul>' if items else ""


def _take(
    point: str | None, title: str, rate: str, scores: str, keys: tuple[str, str], clip: str, ends: tuple[float, float], tint: str
) -> str:
    told = escape(f"{title}, {clip}")
    marked = f' data-point="{escape(point)}"' if point is not None else ""
    khz, end = ends
    return (
        f'<figure class="take {tint or "original"}"{marked} data-sound="{keys[0]}" data-picture="{keys[1]}">'
        f'<figcaption><button type="button" class="play" aria-label="Play {told}"></button>'
        f'<span><span class="point">{escape(title)}</span><span class="rate">{rate}</span></span></figcaption>'
        f'<div class="spectrum"><img alt="Spectrogram of {told}" width="400" height="140">'
        f'<span class="tick top">{khz:g} kHz</span>'
        f'<span class="tick low">0</span><span class="tick end">{end:.1f} s</span><span class="cursor"></span></div>'
        f'{scores}<audio preload="none"></audio></figure>'
    )


def _scores(findings: Findings, point: str, clip: str) -> str:
    row = findings.rows[point].get(clip)
    if row is None:
        return ""
    items = []
    for scale in findings.scales:
        value = row.scores.get(scale.name, math.nan)
        unit = f" {escape(scale.unit)}" if scale.unit and math.isfinite(value) else ""
        why = "" if math.isfinite(value) else f' title="{escape(row.problems.get(scale.name, "no value"))}"'
        items.append(f"<div{why}><dt>{escape(scale.marked)}</dt><dd>{fixed(value, scale.digits)}{unit}</dd></div>")
    return f'<dl class="scores">{"".join(items)}</dl>'


def _rate(findings: Findings, point: str, clip: str) -> str:
    row = findings.rows[point].get(clip)
    kbps = row.kbps if row else None
    return f"{kbps:.2f} kbps" if kbps is not None else ""
