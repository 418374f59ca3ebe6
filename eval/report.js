"use strict";
// The page of an evaluation. Texts of models and benchmarks go in as text nodes only.
const { summary, published, problems } = data;
const [VERDICT, ANSWER, REASON, TOKENS, FINISH, SEED, ENGINE, REPEATS, TEXT] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const right = (s) => s[VERDICT] === "right" && s[FINISH] !== "length";
const share = (p) => p.samples.filter(right).length / p.samples.length;
const asked = (b) => (b.data.of > b.problems ? `the first ${b.problems} of ${b.data.of}` : `${b.problems}`);
const say100 = (v) => `${Math.round(100 * v)}`;

function scores() {
  const table = $("scores");
  const head = add(add(table, "thead"), "tr");
  for (const name of ["benchmark", "problems", "n", "Avg@n", "Pass@n", "maj@n", "best@n", "truncated", "repeating", "no box", "failed", "distinct"]) add(head, "th", name);
  const body = add(table, "tbody");
  for (const [name, b] of Object.entries(summary.benchmarks)) {
    const row = add(body, "tr");
    for (const text of [name, asked(b), b.samples]) add(row, "td", text);
    percentCell(row, b.avg, b.avg_ci);
    percentCell(row, b.pass[b.samples], b.pass_ci[b.samples]);
    percentCell(row, b.maj, b.maj_ci);
    percentCell(row, b.best_with_replacement, b.best_with_replacement_ci);
    for (const x of [b.truncated, b.repeating, b.no_box, b.failed, b.distinct]) percentCell(row, x);
    if (b.without) {
      const other = add(body, "tr");
      for (const text of [`${name}, ${b.without.label}`, b.without.problems, b.samples]) add(other, "td", text);
      percentCell(other, b.without.avg);
      percentCell(other, b.without.pass);
      for (let i = 0; i < 7; i++) add(other, "td", "-");
    }
    others(body, name);
  }
  const names = new Set(Object.values(published).flatMap((p) => Object.keys(p.benchmarks)));
  for (const name of names) if (!Object.hasOwn(summary.benchmarks, name)) others(body, name);
}

// The rows of what is published of a benchmark.
function others(body, name) {
  const say = (v) => (v === undefined ? "-" : v.toFixed(1));
  for (const [title, p] of Object.entries(published)) {
    if (!Object.hasOwn(p.benchmarks, name)) continue;
    const theirs = p.benchmarks[name];
    const row = add(body, "tr", null, { class: "published", title: p.source });
    for (const text of [`${name}, published: ${title}`, "", p.samples, say(theirs.avg), "-", "-", say(theirs.best_with_replacement), "", "", "", "", ""]) add(row, "td", text);
  }
}

function passCurve(parent, b) {
  const ks = Object.keys(b.pass).map(Number);
  const x = { label: "k, logarithmic", from: 1, to: ks.at(-1), log: true, ticks: ks.filter((k) => Number.isInteger(Math.log2(k)) || k === ks.at(-1)) };
  const known = ks.every((k) => b.pass_ci[k][0] !== null);
  const lines = [
    { name: "Pass@k", meaning: "Chance that one of k samples is right.", colour: "var(--blue)", points: ks.map((k) => [k, b.pass[k]]), band: known ? ks.map((k) => [k, ...b.pass_ci[k]]) : null },
    { name: "maj@k", meaning: "Chance that the most frequent answer of k samples is right.", colour: "var(--vermillion)", dash: "6 4", points: Object.entries(b.maj_curve).map(([k, v]) => [Number(k), v]) },
  ];
  const { figure } = lineChart(parent, "Pass@k and maj@k", "Shares of problems solved with k samples.", x, { label: "problems, in %", from: 0, to: 1, ticks: [0, 0.25, 0.5, 0.75, 1], say: say100 }, lines);
  add(figure, "figcaption", known ? "the band is the 95% interval of Pass@k" : "one problem has no interval");
}

// From never right (vermillion) over one half (pale) to always right (blue).
const heat = (s) => `color-mix(in oklab, var(--${s < 0.5 ? "vermillion" : "blue"}) ${Math.round(15 + 85 * Math.abs(2 * s - 1))}%, var(--card))`;

function heatMap(parent, name) {
  const list = problems[name].map((p) => [p, share(p)]).toSorted((a, b) => b[1] - a[1]);
  const across = Math.max(10, Math.ceil(Math.sqrt(list.length * 1.6)));
  const size = WIDTH / across;
  const high = Math.ceil(list.length / across) * size;
  const figure = add(parent, "figure");
  add(figure, "h3", "Problems, by share of right samples");
  const svg = draw(figure, "svg", { viewBox: `0 0 ${WIDTH} ${high + 34}`, role: "img", "aria-label": "problems, by share of right samples" });
  list.forEach(([p, s], i) => {
    const cell = draw(svg, "rect", { x: (i % across) * size, y: Math.floor(i / across) * size, width: size - 1, height: size - 1, fill: heat(s), class: "cell", style: "cursor: pointer" });
    draw(cell, "title", {}, `${p.id}: ${percent(s)}% right`);
    cell.addEventListener("click", () => open(name, p));
  });
  for (let i = 0; i <= 10; i++) draw(svg, "rect", { x: i * 14, y: high + 6, width: 14, height: 10, fill: heat(i / 10) });
  for (const [at, text, anchor] of [[0, "0", "start"], [77, "50", "middle"], [154, "100% right", "middle"]]) draw(svg, "text", { x: at, y: high + 30, "text-anchor": anchor }, text);
  add(figure, "figcaption", "one cell a problem; a click opens it");
}

const KINDS = { right: "var(--right)", wrong: "var(--wrong)", truncated: "var(--cut)" };
const kindOf = (s) => (s[FINISH] === "length" ? "truncated" : right(s) ? "right" : "wrong");

function lengths(parent, name, b) {
  const samples = problems[name].flatMap((p) => p.samples);
  const most = samples.reduce((m, s) => Math.max(m, s[TOKENS]), 1);
  const bins = Array.from({ length: 24 }, () => ({ right: 0, wrong: 0, truncated: 0 }));
  for (const s of samples) bins[Math.min(23, Math.floor((24 * s[TOKENS]) / most))][kindOf(s)]++;
  const top = Math.max(...bins.map((bin) => bin.right + bin.wrong + bin.truncated));
  const { figure, svg, atX, atY } = axes(parent, "Length against correctness", "How long right, wrong and truncated responses are.", { label: "tokens of a response", from: 0, to: most }, { label: "samples", from: 0, to: top });
  bins.forEach((bin, i) => {
    let below = 0;
    const [from, to] = [(i * most) / 24, ((i + 1) * most) / 24];
    for (const [kind, colour] of Object.entries(KINDS)) {
      if (!bin[kind]) continue;
      const bar = draw(svg, "rect", { x: atX(from), y: atY(below + bin[kind]), width: atX(to) - atX(from) - 1, height: atY(below) - atY(below + bin[kind]), fill: colour });
      draw(bar, "title", {}, `${bin[kind]} ${kind}, of ${Math.round(from)} to ${Math.round(to)} tokens`);
      below += bin[kind];
    }
  });
  legend(figure, Object.entries(KINDS).map(([kind, colour]) => ({ name: kind, colour, box: true })));
  const mean = (kind) => (b.length[kind] ? `${Math.round(b.length[kind].mean)}` : "-");
  add(figure, "figcaption", `mean tokens: right ${mean("right")}, wrong or truncated ${mean("wrong")}`);
}

function charts() {
  for (const [name, b] of Object.entries(summary.benchmarks)) {
    const card = add($("charts"), "div", null, { class: "benchmark" });
    const head = add(card, "div");
    add(head, "h3", `${name}: ${asked(b)} problems, ${b.samples} samples each`);
    const { between, within } = b.variance;
    if (between !== null) {
      const error = (n) => (100 * Math.sqrt((between + within / n) / b.problems)).toFixed(2);
      add(head, "p", `Standard error of Avg: ${error(b.samples)} with ${b.samples} samples, ${error(4 * b.samples)} with ${4 * b.samples}, ${(100 * Math.sqrt(between / b.problems)).toFixed(2)} with any number: the rest is which problems were asked.`, { class: "hint" });
    }
    add(head, "p", `Truncated graded as they stand: Avg ${percent(b.avg_truncated_as_graded)}. Complete responses alone: ${percent(b.avg_complete_only)}. Data ${b.data.hash}, from ${b.data.from}.`, { class: "hint" });
    for (const note of b.notes) add(head, "p", note, { class: "hint" });
    const how = add(head, "details");
    add(how, "summary", "how it was sampled and graded");
    const { example_prompt, ...settings } = b.settings;
    for (const text of [JSON.stringify(settings), `by ${b.sampled_by.join(", ")}; graded with ${JSON.stringify(b.graded_with)}`, "a prompt, for the problem 1+1?"])
      add(how, "p", text, { class: "hint" });
    add(how, "pre", example_prompt);
    passCurve(card, b);
    heatMap(card, name);
    lengths(card, name, b);
  }
}

const WHICH = {
  all: ["all", () => true],
  never: ["never solved", (p) => share(p) === 0],
  sometimes: ["sometimes solved", (p) => share(p) > 0 && share(p) < 1],
  always: ["always solved", (p) => share(p) === 1],
  truncated: ["with truncated", (p) => p.samples.some((s) => s[FINISH] === "length")],
  repeating: ["with repeating", (p) => p.samples.some((s) => s[REPEATS])],
  nobox: ["without a box", (p) => p.samples.some((s) => s[ANSWER] === null)],
  failed: ["grader failed", (p) => p.samples.some((s) => s[VERDICT] === "failed")],
};

function matches(p, words) {
  const within = (text) => text !== null && text.toLowerCase().includes(words);
  return !words || within(p.id) || within(p.problem) || within(p.answer) || p.samples.some((s) => within(s[ANSWER]) || within(s[TEXT]));
}

let mark = () => {};
function list(first) {
  const name = $("benchmark").value;
  const words = $("search").value.trim().toLowerCase();
  const found = problems[name].filter((p) => WHICH[$("which").value][1](p) && matches(p, words));
  $("count").textContent = `${found.length} of ${problems[name].length} problems`;
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
  add(button, "span", `${p.samples.filter(right).length}/${p.samples.length}`, { class: share(p) >= 0.5 ? "right" : "wrong" });
}

// Show a problem in the list of all problems of its benchmark.
function open(name, p) {
  $("benchmark").value = name;
  $("which").value = "all";
  $("search").value = "";
  list(p);
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
  const shown = add(article, "pre", "", { class: "response", hidden: "" });
  const body = table(article, ["response", "sample", "verdict", "answer", "reason", "tokens", "ended by", "seed", "engine"]);
  p.samples.forEach((s, i) => {
    const row = add(body, "tr");
    const cut = s[FINISH] === "length";
    const cell = add(row, "td");
    if (s[TEXT] === null) add(cell, "span", "-", { class: "cut", title: "in samples.sqlite" });
    else
      add(cell, "button", "show", { type: "button", "data-sample": i }).addEventListener("click", () => {
        shown.hidden = false;
        say(shown, s[TEXT]);
        shown.scrollIntoView({ block: "nearest" });
      });
    add(row, "td", i);
    const verdict = cut ? `wrong (truncated; graded ${s[VERDICT]})` : s[VERDICT];
    add(row, "td", s[REPEATS] ? `${verdict}, repeating` : verdict, { class: cut ? "cut" : s[VERDICT] });
    if (s[ANSWER] === null) add(row, "td", "no box");
    else say(add(row, "td"), s[ANSWER], true);
    for (const text of [s[REASON], s[TOKENS], s[FINISH], s[SEED], s[ENGINE]]) add(row, "td", text);
  });
  if (p.samples.some((s) => s[TEXT] === null)) add(article, "p", "-: the response is not in this page; samples.sqlite beside it has it", { class: "hint" });
}

// Open the problem that the address names.
function follow() {
  const [name, id] = namedProblem();
  const p = Object.hasOwn(problems, name) && problems[name].find((other) => other.id === id);
  if (p) open(name, p);
  return Boolean(p);
}

function made() {
  const lines = {
    model: summary.model, identity: JSON.stringify(summary.identity),
    responses: `${data.responses}; samples.sqlite beside it has all of them`,
  };
  for (const [title, p] of Object.entries(published)) lines[`published: ${title}`] = p.weights ? `${p.source}; weights ${p.weights}` : p.source;
  for (const [name, text] of Object.entries(lines)) {
    add($("made"), "dt", name);
    add($("made"), "dd", text);
  }
}

$("model").textContent = summary.model;
const { example_prompt, ...shared } = summary.settings;
$("settings").textContent = Object.entries(shared).map(([name, value]) => `${name.replaceAll("_", " ")} ${JSON.stringify(value)}`).join(" · ");
for (const text of summary.warnings) add($("warnings"), "p", text, { class: "warning" });
scores();
charts();
for (const name of Object.keys(problems)) add($("benchmark"), "option", name, { value: name });
for (const [key, [label]] of Object.entries(WHICH)) add($("which"), "option", label, { value: key });
for (const id of ["benchmark", "which"]) $(id).addEventListener("change", () => list());
$("search").addEventListener("input", () => list());
addEventListener("hashchange", follow);
made();
if (!follow()) list();
