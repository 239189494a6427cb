"use strict";
// Draws quality against cost: a dot with its interval for each kind, and a line through those that nothing beats.

const figures = JSON.parse(document.getElementById("figures").textContent);
const narrow = window.matchMedia("(max-width: 640px)");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const SYMBOLS = ["x", "square", "circle"];
const NAMED = 12; // with more dots, only those on the line have their names beside them

function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), soft: of("--soft"), line: of("--line"), raised: of("--raised"), font: of("--text"),
    groups: [of("--k7"), of("--k1"), of("--k0")] };
}

function traces(figure, look) {
  const best = new Set(figure.front.names);
  const shown = (point) => figure.points.length <= NAMED || best.has(point.name) ? point.name : "";
  const line = { type: "scatter", mode: "lines", x: figure.front.x, y: figure.front.y, hoverinfo: "skip",
    line: { color: look.groups[2], width: 1.5, dash: "dot" } };
  const groups = look.groups.map((colour, group) => {
    const points = figure.points.filter((point) => point.group === group);
    const of = (name) => points.map((point) => point[name]);
    return { type: "scatter", mode: narrow.matches ? "markers" : "markers+text", x: of("x"), y: of("y"),
      text: points.map(shown), textposition: "top center", textfont: { size: 10, color: look.soft },
      customdata: of("text"), hovertemplate: "%{customdata}<extra></extra>",
      marker: { color: colour, size: 9, symbol: SYMBOLS[group] },
      error_y: { type: "data", symmetric: false, array: of("plus"), arrayminus: of("minus"), color: colour, thickness: 1, width: 3 } };
  });
  return [line, ...groups.filter((trace) => trace.x.length)];
}

function layout(figure, look) {
  const axis = { gridcolor: look.line, linecolor: look.line, zeroline: false, fixedrange: narrow.matches, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", height: 380,
    font: { family: look.font, size: narrow.matches ? 11 : 12, color: look.soft }, margin: { l: 46, r: 12, t: 14, b: 48 },
    hoverlabel: { bgcolor: look.raised, bordercolor: look.line, font: { family: look.font, color: look.ink }, align: "left" },
    dragmode: narrow.matches ? false : "zoom",
    xaxis: { ...axis, type: "log", title: { text: figure.x_title, standoff: 8 }, nticks: 6 },
    yaxis: { ...axis, nticks: 7 },
  };
}

function draw() {
  const look = theme();
  for (const graph of document.querySelectorAll(".graph")) {
    const figure = figures.pareto[Number(graph.dataset.index)];
    Plotly.react(graph, traces(figure, look), layout(figure, look), { displayModeBar: false, responsive: true });
  }
}

draw();
dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
