"use strict";
// Gives the plots their colours, and makes the choices and the players of the page work.

const figures = JSON.parse(document.getElementById("figures").textContent);
const narrow = window.matchMedia("(max-width: 640px)");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const hiddenCodecs = new Set();

// ---- plots ----

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "hexagon"];

function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    ink: of("--ink"), soft: of("--soft"), line: of("--line"), raised: of("--raised"), font: of("--text"),
    codec: (i) => of(`--k${i % figures.colours}`),
  };
}

function faded(colour, alpha) {
  return colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

function baseLayout(look) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: look.font, size: narrow.matches ? 11 : 12, color: look.soft },
    hoverlabel: { bgcolor: look.raised, bordercolor: look.line, font: { family: look.font, color: look.ink }, align: "left" },
    dragmode: narrow.matches ? false : "zoom",
  };
}

function rateTicks(range) {
  const width = range[1] - range[0];
  const steps = width < 0.5 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] : width < 1.6 ? [1, 1.5, 2, 3, 4, 6, 8] : [1, 2, 4];
  const ticks = [];
  for (let decade = Math.floor(range[0]); decade <= range[1]; decade++) {
    for (const step of steps) ticks.push(Number((step * 10 ** decade).toPrecision(3)));
  }
  return ticks.filter((tick) => Math.log10(tick) >= range[0] && Math.log10(tick) <= range[1]);
}

function rateTraces(figure, look) {
  const traces = [];
  for (const one of figure.traces) {
    const colour = look.codec(one.codec);
    const common = { meta: { codec: one.codec }, name: one.name, visible: !hiddenCodecs.has(one.codec) };
    const hover = { text: one.text, hovertemplate: "%{text}<extra></extra>" };
    if (one.level) {
      traces.push({
        ...common, type: "scatter", mode: "lines", hoverinfo: "skip", line: { width: 0 }, fill: "toself", fillcolor: faded(colour, 0.15),
        x: [...one.x, ...[...one.x].reverse()], y: [...one.x.map(() => one.low), ...one.x.map(() => one.high)],
      });
      traces.push({ ...common, ...hover, type: "scatter", mode: "lines", x: one.x, y: one.y, line: { color: colour, width: 1.5, dash: "dash" } });
    } else {
      traces.push({
        ...common, ...hover, type: "scatter", mode: "lines+markers", x: one.x, y: one.y,
        line: { color: colour, width: 2 }, marker: { color: colour, size: 8, symbol: SYMBOLS[one.codec % SYMBOLS.length] },
        error_y: { type: "data", symmetric: false, array: one.plus, arrayminus: one.minus, color: colour, thickness: 1.4, width: 4 },
      });
    }
  }
  return traces;
}

function rateLayout(figure, look) {
  const levels = figure.traces.filter((one) => one.level);
  const axis = { gridcolor: look.line, linecolor: look.line, zeroline: false, fixedrange: narrow.matches };
  const ticks = rateTicks(figure.x_range);
  return {
    ...baseLayout(look), height: 320, margin: { l: 46, r: 12, t: 10, b: 44 },
    xaxis: { ...axis, type: "log", range: figure.x_range, tickvals: ticks, ticktext: ticks.map(String), title: { text: "real kbps", standoff: 8 } },
    yaxis: { ...axis, range: figure.y_range, nticks: 7, automargin: true },
    annotations: levels.map((one) => ({
      xref: "paper", x: 1, xanchor: "right", yanchor: "bottom", y: one.y[0], text: one.name, showarrow: false,
      font: { size: 11, color: look.codec(one.codec) }, meta: one.codec, visible: !hiddenCodecs.has(one.codec),
    })),
  };
}

function spreadTraces(figure, look) {
  const traces = [];
  for (const one of figure.traces) {
    const colour = look.codec(one.codec);
    const common = { meta: { codec: one.codec }, name: one.name, orientation: "h" };
    if (one.violin) {
      traces.push({
        ...common, type: "violin", x: one.x, y: one.x.map(() => one.name), width: 0.86, spanmode: "hard", points: false,
        line: { color: colour, width: 1.2 }, fillcolor: faded(colour, 0.22), hoveron: "violins", hoverinfo: "x",
        box: { visible: true, width: 0.16, fillcolor: faded(colour, 0.35), line: { color: colour, width: 1 } },
      });
    } else {
      traces.push({
        ...common, type: "scatter", mode: "markers", x: one.x, y: one.x.map(() => one.name), text: one.text,
        hovertemplate: "%{text}<extra></extra>", marker: { color: faded(colour, 0.6), size: 7 },
      });
    }
    if (one.mean !== null) {
      traces.push({
        ...common, type: "scatter", mode: "markers", x: [one.mean], y: [one.name], text: [one.told], hovertemplate: "%{text}<extra></extra>",
        marker: { symbol: "diamond", size: 8, color: look.raised, line: { color: colour, width: 2 } },
      });
    }
  }
  return traces;
}

function spreadLayout(figure, look) {
  const names = figure.traces.map((one) => one.name);
  const axis = { gridcolor: look.line, linecolor: look.line, zeroline: false, fixedrange: narrow.matches };
  return {
    ...baseLayout(look), height: 60 + Math.max(6, names.length) * 38, margin: { l: 10, r: 12, t: 10, b: 34 },
    xaxis: { ...axis, nticks: 7 },
    yaxis: { ...axis, gridcolor: "rgba(0,0,0,0)", categoryorder: "array", categoryarray: names, range: [names.length - 0.5, -0.5], automargin: true },
  };
}

function drawAll() {
  const look = theme();
  for (const graph of document.querySelectorAll(".graph")) {
    const figure = figures[graph.dataset.kind][Number(graph.dataset.index)];
    const [traces, layout] = graph.dataset.kind === "rate"
      ? [rateTraces(figure, look), rateLayout(figure, look)] : [spreadTraces(figure, look), spreadLayout(figure, look)];
    Plotly.react(graph, traces, layout, { displayModeBar: false, displaylogo: false, responsive: true });
  }
}

for (const key of document.querySelectorAll(".key")) {
  key.addEventListener("click", () => {
    const codec = Number(key.dataset.codec);
    if (!hiddenCodecs.delete(codec)) hiddenCodecs.add(codec);
    key.setAttribute("aria-pressed", String(!hiddenCodecs.has(codec)));
    drawAll();
  });
}
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", drawAll);
drawAll();

// ---- choices between tables ----

for (const select of document.querySelectorAll("select[data-panels]")) {
  const panels = [...select.closest(".choice").nextElementSibling.children];
  const show = () => panels.forEach((panel, i) => { panel.hidden = String(i) !== select.value; });
  select.addEventListener("change", show);
  show();
}

// ---- players ----

let media = null;

function mediaUri(key) {
  media ??= JSON.parse(document.getElementById("media").textContent);
  return media[key];
}

// A blob, because browsers seek in it at once, which they do not do in every data URI.
function blobUrl(uri) {
  const [head, data] = uri.split(",", 2);
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
}

function audioOf(take) {
  const audio = take.querySelector("audio");
  if (!audio.src) audio.src = blobUrl(mediaUri(take.dataset.sound));
  return audio;
}

function play(take, from) {
  const audio = audioOf(take);
  for (const other of document.querySelectorAll("audio")) {
    if (other === audio || other.paused) continue;
    if (from === undefined && other.closest(".card") === take.closest(".card")) from = other.currentTime;
    other.pause();
  }
  if (from !== undefined) audio.currentTime = from;
  audio.play().catch(() => { take.querySelector(".play").title = "This browser cannot play FLAC"; });
}

function follow(take, audio) {
  const cursor = take.querySelector(".cursor");
  const step = () => {
    cursor.style.left = `${(100 * audio.currentTime) / (audio.duration || 1)}%`;
    if (!audio.paused) requestAnimationFrame(step);
  };
  step();
}

for (const take of document.querySelectorAll(".take[data-sound]")) {
  const audio = take.querySelector("audio");
  const button = take.querySelector(".play");
  button.addEventListener("click", () => (audio.paused ? play(take) : audio.pause()));
  take.querySelector(".spectrum").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const start = () => play(take, share * audio.duration);
    if (audioOf(take).readyState >= 1) start();
    else { audio.addEventListener("loadedmetadata", start, { once: true }); audio.load(); }
  });
  audio.addEventListener("play", () => {
    button.classList.add("playing");
    take.querySelector(".cursor").style.opacity = "1";
    follow(take, audio);
  });
  for (const end of ["pause", "ended"]) audio.addEventListener(end, () => button.classList.remove("playing"));
}

// ---- which clips to hear ----

const listenTo = document.getElementById("listen-to");
const cards = document.getElementById("cards");

function showPicture(card) {
  for (const take of card.querySelectorAll(".take[data-picture]")) {
    const image = take.querySelector("img");
    if (!image.src) image.src = mediaUri(take.dataset.picture);
  }
}

if (listenTo) {
  const all = [...cards.children];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { showPicture(entry.target); seen.unobserve(entry.target); }
  }, { rootMargin: "600px" });
  const show = () => {
    const chosen = listenTo.selectedOptions[0];
    const wanted = chosen.dataset.cards ? chosen.dataset.cards.split(" ").map((id) => document.getElementById(id)) : all;
    for (const audio of cards.querySelectorAll("audio")) audio.pause();
    for (const card of all) card.hidden = !wanted.includes(card);
    for (const card of wanted) cards.append(card);
    for (const take of cards.querySelectorAll(".take")) take.classList.toggle("chosen", Boolean(chosen.value) && take.dataset.point === chosen.value);
  };
  listenTo.addEventListener("change", show);
  for (const jump of document.querySelectorAll(".jump")) {
    jump.addEventListener("click", () => {
      listenTo.value = jump.dataset.point;
      show();
      document.getElementById(jump.dataset.card).scrollIntoView({ block: "start" });
    });
  }
  show();
  for (const card of all) seen.observe(card);
}
