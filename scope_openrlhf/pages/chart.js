"use strict";
// Charts as SVG: axes with names, a legend, and what stands under the pointer in words.
const COLOURS = ["blue", "vermillion", "green", "purple", "orange", "sky", "black"].map((name) => `var(--${name})`);
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 250, 72, 14, 12, 42];

function number(v) {
  if (v === null || v === undefined) return "-";
  const size = Math.abs(v);
  if (size >= 10000) return size >= 1e7 ? Number(v.toPrecision(2)).toExponential() : Math.round(v).toLocaleString("en");
  if (size !== 0 && size < 0.001) return Number(v.toPrecision(2)).toExponential();
  return String(Number(v.toPrecision(4)));
}

// About so many round numbers between two.
function ticks(low, high, about) {
  const rough = (high - low) / about;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The range of values with some air; one value alone gets air too.
function range(values) {
  const known = values.filter((v) => v !== null && v !== undefined);
  if (!known.length) return [0, 1];
  let [low, high] = known.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [Infinity, -Infinity]);
  if (low >= 0 && low < 0.5 * high) low = 0;
  if (low === 0 && high === 0) return [0, 1];
  if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const air = (high - low) * 0.05;
  return [low === 0 ? 0 : low - air, high + air];
}

// An empty chart. x, y: {label, from, to, ticks: numbers, say: number -> text, log: base 2}.
function axes(parent, title, meaning, x, y) {
  const figure = add(parent, "figure");
  add(figure, "h3", title, { title: meaning });
  const svg = draw(figure, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${y.label} by ${x.label}. ${meaning}` });
  const along = (axis, from, to) => {
    const place = axis.log ? Math.log2 : (v) => v;
    const [low, high] = [place(axis.from), place(axis.to)];
    return (v) => from + ((high === low ? 0.5 : (place(v) - low) / (high - low)) * (to - from));
  };
  const [atX, atY] = [along(x, LEFT, WIDTH - RIGHT), along(y, HEIGHT - BOTTOM, TOP)];
  for (const v of y.ticks ?? ticks(y.from, y.to, 5)) {
    draw(svg, "line", { x1: LEFT, x2: WIDTH - RIGHT, y1: atY(v), y2: atY(v), stroke: "var(--line)" });
    draw(svg, "text", { x: LEFT - 6, y: atY(v) + 4, "text-anchor": "end" }, (y.say ?? number)(v));
  }
  for (const v of x.ticks ?? ticks(x.from, x.to, 6)) {
    draw(svg, "line", { x1: atX(v), x2: atX(v), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, stroke: "var(--edge)" });
    draw(svg, "text", { x: atX(v), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, (x.say ?? number)(v));
  }
  draw(svg, "line", { x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, stroke: "var(--edge)" });
  draw(svg, "text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle", class: "axis" }, x.label);
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  const parts = wrapped(y.label, 30);
  parts.forEach((part, i) => {
    const at = { 1: 19, 2: 10 }[parts.length] ?? 8;
    draw(svg, "text", { x: at + 11 * i, y: middle, "text-anchor": "middle", class: "axis", transform: `rotate(-90 ${at + 11 * i} ${middle})` }, part);
  });
  return { figure, svg, atX, atY, x, y };
}

// The lines of a text, of about so many characters each.
function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push(word);
    else lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

// entries: {name, meaning, colour, dash, box}.
function legend(figure, entries) {
  const list = add(figure, "div", null, { class: "legend" });
  for (const e of entries) {
    const entry = add(list, "span", null, { title: e.meaning ?? "" });
    const svg = draw(entry, "svg", { viewBox: "0 0 22 10" });
    if (e.box) draw(svg, "rect", { x: 4, y: 0, width: 14, height: 10, fill: e.colour, opacity: e.opacity ?? 1 });
    else draw(svg, "line", { x1: 0, x2: 22, y1: 5, y2: 5, stroke: e.colour, "stroke-width": 2.5, "stroke-dasharray": e.dash ?? "" });
    add(entry, "span", e.name);
  }
}

// lines: {name, meaning, colour, dash, points: [x, y] with null for no number, band: [x, low, high]}.
function lineChart(parent, title, meaning, x, y, lines) {
  const chart = axes(parent, title, meaning, x, y);
  const { svg, atX, atY } = chart;
  for (const line of lines) {
    const band = (line.band ?? []).filter(([, low, high]) => low !== null && high !== null);
    if (band.length > 1) {
      const edge = [...band.map(([v, , high]) => [v, high]), ...band.toReversed().map(([v, low]) => [v, low])];
      draw(svg, "polygon", { points: edge.map(([v, w]) => `${atX(v).toFixed(1)},${atY(w).toFixed(1)}`).join(" "), fill: line.colour, opacity: 0.15 });
    }
    const pieces = [[]];
    for (const [v, w] of line.points) {
      if (w === null || w === undefined) pieces.push([]);
      else pieces.at(-1).push(`${atX(v).toFixed(1)},${atY(w).toFixed(1)}`);
    }
    for (const piece of pieces.filter((p) => p.length))
      draw(svg, "polyline", { points: piece.join(" "), fill: "none", stroke: line.colour, "stroke-width": 2, "stroke-dasharray": line.dash ?? "", "stroke-linejoin": "round" });
    // a number between two that were not taken has no line to be seen by
    const alone = (i) => [i - 1, i + 1].every((j) => (line.points[j]?.[1] ?? null) === null);
    line.points.forEach(([v, w], i) => {
      if (w !== null && w !== undefined && (line.points.length <= 40 || alone(i))) draw(svg, "circle", { cx: atX(v), cy: atY(w), r: 2.5, fill: line.colour });
    });
  }
  legend(chart.figure, lines);
  pointer(chart, lines);
  return chart;
}

// Problems by their shares of right samples, {before, after} each, as dots with their counts. open: (problems of a dot).
function shareScatter(parent, title, before, after, problems, open) {
  const say = (v) => `${Math.round(100 * v)}`;
  const axis = (name) => ({ label: `right samples, ${name}, in %`, from: -0.08, to: 1.08, ticks: [0, 0.25, 0.5, 0.75, 1], say });
  const { figure, svg, atX, atY } = axes(parent, title, "Share of right samples of each problem.", axis(before), axis(after));
  draw(svg, "line", { x1: atX(0), y1: atY(0), x2: atX(1), y2: atY(1), stroke: "var(--edge)", "stroke-dasharray": "4 4" });
  const places = [...Map.groupBy(problems, (p) => `${p.before} ${p.after}`).values()].toSorted((a, b) => b.length - a.length);
  const most = places.length ? places[0].length : 1;
  const widest = Math.max(5, Math.min(14, 120 / Math.sqrt(places.length)));
  for (const list of places) {
    const p = list[0];
    const colour = p.after > p.before ? "var(--right)" : p.after < p.before ? "var(--wrong)" : "var(--grey)";
    const r = 2.5 + (widest - 2.5) * Math.sqrt(list.length / most);
    const dot = draw(svg, "g", { class: "dot" });
    draw(dot, "circle", { cx: atX(p.before), cy: atY(p.after), r, fill: `color-mix(in oklab, ${colour} 45%, var(--card))`, stroke: colour });
    if (r >= 8) draw(dot, "text", { x: atX(p.before), y: atY(p.after) + 4, "text-anchor": "middle", class: "axis" }, list.length);
    draw(dot, "title", {}, `${list.length} ${list.length === 1 ? "problem" : "problems"}: ${percent(p.before)}% ${before}, ${percent(p.after)}% ${after}`);
    dot.addEventListener("click", () => open(list));
  }
  legend(figure, [[`${after} has more right`, "var(--right)"], ["the same", "var(--grey)"], [`${before} has more right`, "var(--wrong)"]].map(([name, colour]) => ({ name, colour, box: true })));
  add(figure, "figcaption", "A larger dot holds more problems; a click lists them.");
}

// Say what lies nearest to the pointer.
function pointer({ figure, svg, atX, x, y }, lines) {
  const all = [...new Set(lines.flatMap((line) => line.points.map(([v]) => v)))].toSorted((a, b) => a - b);
  if (!all.length) return;
  const rule = draw(svg, "line", { y1: TOP, y2: HEIGHT - BOTTOM, stroke: "var(--edge)", "stroke-dasharray": "2 3", visibility: "hidden" });
  const tip = add(figure, "div", null, { class: "tip", hidden: "" });
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * WIDTH) / box.width;
    const near = all.reduce((best, v) => (Math.abs(atX(v) - at) < Math.abs(atX(best) - at) ? v : best));
    rule.setAttribute("x1", atX(near));
    rule.setAttribute("x2", atX(near));
    rule.setAttribute("visibility", "visible");
    const values = lines.map((line) => [line.name, line.points.find(([v]) => v === near)?.[1]]).filter(([, w]) => w !== undefined);
    tip.textContent = [`${x.label} ${number(near)}`, ...values.map(([name, w]) => `${name}  ${w === null ? "-" : (y.say ?? number)(w)}`)].join("\n");
    tip.hidden = false;
    const outer = figure.getBoundingClientRect();
    const room = outer.width - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(box.left - outer.left + (atX(near) * box.width) / WIDTH + 10, room))}px`;
    tip.style.top = `${box.top - outer.top + 8}px`;
  });
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    rule.setAttribute("visibility", "hidden");
  });
}
