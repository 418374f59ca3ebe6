"use strict";
// The page of a comparison. Texts of models and benchmarks go in as text nodes only.
const { sides, benchmarks } = data;
const [A, B] = sides.map((side) => side.name);
const MEASURES = { avg: "Avg", pass: "Pass", maj: "maj" };
const MARKS = { r: "right", w: "wrong", t: "truncated", n: "no box", f: "grader failed" };
const CLASSES = { r: "right", w: "wrong", t: "cut", n: "wrong", f: "failed" };
const rightOf = (side) => [...side.marks].filter((m) => m === "r").length;
for (const b of Object.values(benchmarks)) {
  for (const p of b.problems) {
    p.right = p.sides.map(rightOf);
    [p.before, p.after] = p.sides.map((side, i) => p.right[i] / side.marks.length);
    p.change = p.after - p.before;
  }
}
const signed = (v, digits = 2) => `${v > 0 ? "+" : ""}${(100 * v).toFixed(digits)}`;
const arrow = (v) => (v > 0 ? "\u25b2" : v < 0 ? "\u25bc" : "=");

// What follows the name of a measure: how many samples it is of.
const count = (b, measure) => (measure !== "avg" ? `@${b.k}` : b.samples[0] === b.samples[1] ? `@${b.samples[0]}` : ` (${b.samples.join(" and ")} samples)`);
const asked = (b) => (b.of.some((of) => of > b.n) ? `${b.n} of ${Math.max(...b.of)}` : `${b.n}`);

// The range of all differences with their intervals and zero, in round numbers.
function rangeOfDifferences() {
  const all = Object.values(benchmarks).flatMap((b) => Object.values(b.measures)).flatMap((m) => [m.difference, ...m.ci, 0]).filter((v) => v !== null);
  const step = Math.max(...all) - Math.min(...all) > 0.2 ? 0.1 : 0.02;
  return [Math.floor(Math.min(...all, -step / 2) / step) * step, Math.ceil(Math.max(...all, step / 2) / step) * step];
}
const along = ([from, to]) => (v) => 6 + (188 * (v - from)) / (to - from);

// A difference with its interval, on the scale that all rows have.
function whisker(row, m, scale) {
  const svg = draw(add(row, "td", null, { class: "whisker" }), "svg", { viewBox: "0 0 200 16", "aria-hidden": "true" });
  const at = along(scale);
  const colour = m.after_is === "not told apart" ? "var(--grey)" : m.difference > 0 ? "var(--right)" : "var(--wrong)";
  draw(svg, "line", { x1: at(0), x2: at(0), y1: 0, y2: 16, stroke: "var(--edge)" });
  draw(svg, "circle", { cx: at(m.difference), cy: 8, r: 3, fill: colour });
  if (m.ci[0] === null) return;
  draw(svg, "line", { x1: at(m.ci[0]), x2: at(m.ci[1]), y1: 8, y2: 8, stroke: colour, "stroke-width": 2 });
  for (const end of m.ci) draw(svg, "line", { x1: at(end), x2: at(end), y1: 4, y2: 12, stroke: colour, "stroke-width": 2 });
}

function ruler(body, scale) {
  const row = add(body, "tr", null, { class: "ruler" });
  add(row, "td", null, { colspan: 4 });
  const svg = draw(add(row, "td", null, { class: "whisker" }), "svg", { viewBox: "0 0 200 24", role: "img", "aria-label": `scale from ${signed(scale[0], 0)} to ${signed(scale[1], 0)} percentage points` });
  const at = along(scale);
  draw(svg, "line", { x1: at(scale[0]), x2: at(scale[1]), y1: 2, y2: 2, stroke: "var(--edge)" });
  for (const v of ticks(...scale, 5)) {
    draw(svg, "line", { x1: at(v), x2: at(v), y1: 0, y2: 5, stroke: "var(--edge)" });
    draw(svg, "text", { x: at(v), y: 18, "text-anchor": "middle" }, signed(v, 0));
  }
  add(row, "td", "percentage points", { class: "said faint" });
}

function scores() {
  const body = table($("scores"), ["", A, B, `difference, ${B} - ${A}`, "", `${B} is`]);
  const scale = rangeOfDifferences();
  for (const [name, b] of Object.entries(benchmarks)) {
    add(add(body, "tr", null, { class: "first" }), "th", `${name}: ${asked(b)} problems`, { colspan: 6, scope: "rowgroup" });
    for (const [measure, title] of Object.entries(MEASURES)) {
      const m = b.measures[measure];
      const row = add(body, "tr");
      add(row, "td", `${title}${count(b, measure)}`);
      percentCell(row, m.before, m.before_ci);
      percentCell(row, m.after, m.after_ci);
      const cell = add(row, "td", signed(m.difference));
      if (m.ci[0] !== null) add(cell, "small", `[${m.ci.map((v) => signed(v, 1)).join(", ")}]`);
      whisker(row, m, scale);
      const said = add(row, "td", m.after_is === "not told apart" ? m.after_is : `${m.after_is} ${arrow(m.difference)}`, { class: "said" });
      if (measure === "avg") add(said, "small", `p ${b.p.toFixed(4)}, by Holm ${b.p_holm.toFixed(4)}`);
    }
    for (const kind of Object.keys(b.shares[0])) {
      const row = add(body, "tr", null, { class: "less" });
      for (const text of [kind, ...b.shares.map((s) => percent(s[kind])), signed(b.shares[1][kind] - b.shares[0][kind]), "", ""]) add(row, "td", text);
    }
  }
  ruler(body, scale);
}

function strata(parent, b) {
  const entries = Object.entries(b.strata);
  if (entries.length < 2 || entries.length > 20) return;
  const details = add(parent, "details");
  add(details, "summary", `by kind of problem (${entries.length})`);
  const body = table(details, ["kind", `Avg ${A}`, `Avg ${B}`, `Pass@${b.k} ${A}`, `Pass@${b.k} ${B}`]);
  for (const [name, { before, after }] of entries) {
    const row = add(body, "tr");
    for (const text of [name, ...[before.avg, after.avg, before.pass, after.pass].map(percent)]) add(row, "td", text);
  }
}

function charts() {
  for (const [name, b] of Object.entries(benchmarks)) {
    const card = add($("charts"), "div", null, { class: "benchmark" });
    add(card, "h3", `${name}: ${asked(b)} problems, ${[...new Set(b.samples)].join(" and ")} samples each`);
    shareScatter(card, "Problems, by share of right samples", A, B, b.problems, (list) => choose(name, list));
    changes(card, b);
    strata(add(card, "div"), b);
  }
}

// How many problems changed by how much.
function changes(parent, b) {
  const BINS = Math.min(21, 2 * Math.min(...b.samples) + 1);
  const bins = Array(BINS).fill(0);
  for (const p of b.problems) bins[Math.round(((p.change + 1) / 2) * (BINS - 1))]++;
  const say = (v) => `${v > 0 ? "+" : ""}${Math.round(100 * v)}`;
  const x = { label: `share right, ${B} - ${A}, in points`, from: -1 - 1 / BINS, to: 1 + 1 / BINS, ticks: [-1, -0.5, 0, 0.5, 1], say };
  const { figure, svg, atX, atY } = axes(parent, "Problems, by how much they changed", "Share of right samples of the one less that of the other.", x, { label: "problems", from: 0, to: Math.max(...bins) });
  bins.forEach((n, i) => {
    const v = (2 * i) / (BINS - 1) - 1;
    const width = (atX(1) - atX(-1)) / (BINS - 1) - 2;
    const colour = i > (BINS - 1) / 2 ? "var(--right)" : i < (BINS - 1) / 2 ? "var(--wrong)" : "var(--grey)";
    if (n) draw(draw(svg, "rect", { x: atX(v) - width / 2, y: atY(n), width, height: atY(0) - atY(n), fill: colour }), "title", {}, `${n} problems, ${say(v)} points or so`);
  });
  const of = (test) => b.problems.filter(test).length;
  legend(figure, [[`won: ${of((p) => p.change > 0)}`, "var(--right)"], [`the same: ${of((p) => p.change === 0)}`, "var(--grey)"], [`lost: ${of((p) => p.change < 0)}`, "var(--wrong)"]].map(([label, colour]) => ({ name: label, colour, box: true })));
  add(figure, "figcaption", `Won: ${B} has a larger share of right samples.`);
}

const has = (letter) => (p) => p.sides.some((side) => side.marks.includes(letter));
const WHICH = {
  all: ["all", () => true],
  won: ["won", (p) => p.change > 0],
  lost: ["lost", (p) => p.change < 0],
  same: ["the same", (p) => p.change === 0],
  unsolved: ["unsolved by both", (p) => p.before === 0 && p.after === 0],
  always: ["always right in both", (p) => p.before === 1 && p.after === 1],
  truncated: ["with truncated", has("t")],
  repeating: ["with repeating", (p) => p.sides.some((side) => side.repeating.length)],
  nobox: ["without a box", has("n")],
  failed: ["grader failed", has("f")],
};
const SOME = "some"; // those of a dot of the picture
let some = [];

function matches(p, words) {
  const within = (text) => text !== null && text.toLowerCase().includes(words);
  return !words || within(p.id) || within(p.problem) || within(p.answer) || p.sides.some((side) => side.answers.some(([text]) => within(text)) || side.shown.some(([, , , text]) => within(text)));
}

// The kinds of problems of a benchmark with their counts.
function kinds() {
  const { problems } = benchmarks[$("benchmark").value];
  const chosen = $("which").value || "all";
  $("which").replaceChildren();
  for (const [key, [label, test]] of Object.entries(WHICH)) {
    const n = problems.filter(test).length;
    if (n || key === "all") add($("which"), "option", `${label} (${n})`, { value: key });
  }
  if (some.length) add($("which"), "option", `those of a dot (${some.length})`, { value: SOME });
  $("which").value = [...$("which").options].some((o) => o.value === chosen) ? chosen : "all";
}

let mark = () => {};
function list(first) {
  const { problems } = benchmarks[$("benchmark").value];
  const words = $("search").value.trim().toLowerCase();
  const which = $("which").value;
  const kept = which === SOME ? some : problems.filter(WHICH[which][1]);
  const found = kept.filter((p) => matches(p, words)).toSorted((a, b) => Math.abs(b.change) - Math.abs(a.change));
  $("count").textContent = `${found.length} of ${problems.length} problems`;
  mark = choices($("problems"), found, entry, (p) => show(p, true));
  const start = first ?? found[0];
  if (start) {
    mark(start);
    show(start, Boolean(first));
  } else $("problem").replaceChildren();
}

function entry(p, button) {
  button.dataset.id = p.id;
  add(button, "span", p.id);
  add(button, "span", `${p.sides.map((side, i) => `${p.right[i]}/${side.marks.length}`).join(" \u2192 ")} ${arrow(p.change)}`, { class: p.change > 0 ? "right" : p.change < 0 ? "wrong" : "faint" });
}

function choose(name, problems) {
  $("benchmark").value = name;
  [some, $("search").value] = [problems, ""];
  kinds();
  $("which").value = SOME;
  list();
  $("browser").scrollIntoView();
}

// named: the address names the problem from now on.
function show(p, named) {
  if (named) history.replaceState(null, "", addressOf($("benchmark").value, p.id));
  const article = $("problem");
  article.replaceChildren();
  add(article, "h3", p.id);
  say(add(article, "pre", "", { class: "asked" }), p.problem);
  say(add(add(article, "p", "gold: ", { class: "gold" }), "span"), p.answer, true);
  const both = add(article, "div", null, { class: "sides" });
  p.sides.forEach((side, i) => sideOf(add(both, "section"), sides[i], side, p.right[i]));
}

function sideOf(parent, about, side, right) {
  const n = side.marks.length;
  add(parent, "h4", `${about.name}: ${right} of ${n} right`);
  const strip = add(parent, "div", null, { class: "marks", role: "img", "aria-label": Object.entries(MARKS).map(([m, word]) => [[...side.marks].filter((x) => x === m).length, word]).filter(([k]) => k).map(([k, word]) => `${k} ${word}`).join(", ") });
  [...side.marks].forEach((m, i) => add(strip, "span", null, { class: `mark ${m}`, title: `sample ${i}: ${MARKS[m]}` }));
  const answers = add(parent, "p", side.answers.length ? "said most: " : "no answer", { class: "faint" });
  side.answers.forEach(([text, times, isRight], i) => {
    if (i) answers.append(", ");
    say(add(answers, "span", "", { class: isRight ? "right" : "wrong" }), text, true);
    answers.append(`\u00a0\u00d7\u00a0${times}`);
  });
  side.shown.forEach(([number, answer, tokens, text], i) => {
    const details = add(parent, "details", null, { class: "sample" });
    const summary = add(details, "summary", `sample ${number}: `);
    add(summary, "span", MARKS[side.marks[number]], { class: CLASSES[side.marks[number]] });
    summary.append(`${answer === null ? "" : `, answer ${answer.slice(0, 60)}`}, ${tokens} tokens${side.repeating.includes(number) ? ", repeating" : ""}`);
    details.addEventListener("toggle", () => details.open && !details.querySelector("pre") && say(add(details, "pre", "", { class: "response" }), text));
    if (!i) details.open = true;
  });
  if (side.shown.length < n) add(parent, "p", `${side.shown.length} of ${n} samples; ${about.folder}/samples.sqlite has all`, { class: "hint" });
}

// Open the problem that the address names.
function follow() {
  const [name, id] = namedProblem();
  const p = Object.hasOwn(benchmarks, name) && benchmarks[name].problems.find((other) => other.id === id);
  if (!p) return false;
  [$("benchmark").value, $("search").value, $("which").value] = [name, "", "all"];
  kinds();
  list(p);
  $("browser").scrollIntoView();
  return true;
}

$("title").textContent = sides.map((side) => side.model).join(" and ");
for (const side of sides) add($("about"), "span", `${side.name}: ${side.model}, from ${side.folder}`);
add($("about"), "span", data.responses);
for (const text of data.notes) add($("notes"), "p", text, { class: "warning" });
scores();
charts();
for (const name of Object.keys(benchmarks)) add($("benchmark"), "option", name, { value: name });
$("benchmark").addEventListener("change", () => ((some = []), kinds(), list()));
$("which").addEventListener("change", () => list());
$("search").addEventListener("input", () => list());
addEventListener("hashchange", follow);
kinds();
if (!follow()) list();
