"use strict";
// Texts of models and benchmarks go into the page as text nodes only.
const data = JSON.parse(document.getElementById("data").textContent);
const { summary, published, problems, whole } = data;
const $ = (id) => document.getElementById(id);
const [VERDICT, ANSWER, REASON, TOKENS, FINISH, SEED, ENGINE, TEXT] = [0, 1, 2, 3, 4, 5, 6, 7];
const right = (s) => s[VERDICT] === "right" && s[FINISH] !== "length";
const share = (p) => p.samples.filter(right).length / p.samples.length;
const percent = (x) => (x === null || x === undefined ? "-" : (100 * x).toFixed(2));
const COLOURS = { right: "#1b7f4b", wrong: "#c8503c", cut: "#8a8f98", accent: "#2457a6" };

function add(parent, tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function draw(parent, tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function value(row, x, interval) {
  const cell = add(row, "td", percent(x));
  if (interval && interval[0] !== null) add(cell, "small", `[${(100 * interval[0]).toFixed(1)}, ${(100 * interval[1]).toFixed(1)}]`);
}

function scores() {
  const table = $("scores");
  const head = add(add(table, "thead"), "tr");
  for (const name of ["benchmark", "problems", "n", "Avg@n", "Pass@n", "maj@n", "best@n", "truncated", "no box", "failed", "distinct"]) add(head, "th", name);
  const body = add(table, "tbody");
  for (const [name, b] of Object.entries(summary.benchmarks)) {
    const row = add(body, "tr");
    for (const text of [name, b.problems, b.samples]) add(row, "td", text);
    value(row, b.avg, b.avg_ci);
    value(row, b.pass[b.samples], b.pass_ci[b.samples]);
    value(row, b.maj, b.maj_ci);
    value(row, b.best_with_replacement, b.best_with_replacement_ci);
    for (const x of [b.truncated, b.no_box, b.failed, b.distinct]) value(row, x);
    if (b.without) {
      const other = add(body, "tr");
      for (const text of [`${name}, ${b.without.label}`, b.without.problems, b.samples]) add(other, "td", text);
      value(other, b.without.avg);
      value(other, b.without.pass);
      for (let i = 0; i < 6; i++) add(other, "td", "-");
    }
    for (const [title, p] of Object.entries(published)) {
      if (!Object.hasOwn(p.benchmarks, name)) continue;
      const theirs = p.benchmarks[name];
      const row = add(body, "tr", null, { class: "published", title: p.source });
      for (const text of [`${name}, published: ${title}`, "", p.samples]) add(row, "td", text);
      add(row, "td", theirs.avg.toFixed(1));
      for (const text of ["-", "-", theirs.best_with_replacement.toFixed(1), "", "", "", ""]) add(row, "td", text);
    }
  }
}

function frame(parent, title, width, height) {
  const figure = add(parent, "figure");
  add(figure, "h3", title);
  return [figure, draw(figure, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title })];
}

function passCurve(parent, name, b) {
  const [figure, svg] = frame(parent, "Pass@k and maj@k", 340, 220);
  const ks = Object.keys(b.pass).map(Number);
  const x = (k) => 36 + (ks.length > 1 ? (Math.log2(k) / Math.log2(ks.at(-1))) * 290 : 145);
  const y = (v) => 190 - v * 175;
  for (const v of [0, 0.25, 0.5, 0.75, 1]) {
    draw(svg, "line", { x1: 36, x2: 330, y1: y(v), y2: y(v), stroke: "#e6e9ee" });
    draw(svg, "text", { x: 30, y: y(v) + 4, "text-anchor": "end" }, 100 * v);
  }
  for (const k of ks.filter((k) => Number.isInteger(Math.log2(k)) || k === ks.at(-1)))
    draw(svg, "text", { x: x(k), y: 207, "text-anchor": "middle" }, k);
  if (ks.every((k) => b.pass_ci[k][0] !== null)) {
    const edge = [...ks.map((k) => [x(k), y(b.pass_ci[k][1])]), ...ks.toReversed().map((k) => [x(k), y(b.pass_ci[k][0])])];
    draw(svg, "polygon", { points: edge.map((p) => p.join(",")).join(" "), fill: COLOURS.accent, opacity: 0.14 });
  }
  const line = (values, attributes) => draw(svg, "polyline", { points: values.map(([k, v]) => `${x(k)},${y(v)}`).join(" "), fill: "none", "stroke-width": 2, ...attributes });
  line(ks.map((k) => [k, b.pass[k]]), { stroke: COLOURS.accent });
  line(Object.entries(b.maj_curve).map(([k, v]) => [Number(k), v]), { stroke: COLOURS.right, "stroke-dasharray": "5 4" });
  for (const k of ks) draw(draw(svg, "circle", { cx: x(k), cy: y(b.pass[k]), r: 3, fill: COLOURS.accent }), "title", {}, `Pass@${k} ${percent(b.pass[k])}`);
  add(figure, "figcaption", "solid: Pass@k with its 95% band; dashed: maj@k; k on a logarithmic scale");
}

function heatMap(parent, name) {
  const list = problems[name].map((p) => [p, share(p)]).toSorted((a, b) => b[1] - a[1]);
  const across = Math.max(10, Math.ceil(Math.sqrt(list.length * 1.6)));
  const size = 340 / across;
  const [figure, svg] = frame(parent, "Problems, by share of right samples", 340, Math.ceil(list.length / across) * size);
  list.forEach(([p, s], i) => {
    const cell = draw(svg, "rect", {
      x: (i % across) * size, y: Math.floor(i / across) * size, width: size - 1, height: size - 1,
      fill: `hsl(${Math.round(8 + 140 * s)} 60% ${Math.round(52 - 8 * s)}%)`, class: "cell", style: "cursor: pointer",
    });
    draw(cell, "title", {}, `${p.id}: ${percent(s)}% right`);
    cell.addEventListener("click", () => open(name, p, true));
  });
  add(figure, "figcaption", "one cell a problem, from always solved (green) to never (red); a click opens it");
}

function lengths(parent, name, b) {
  const samples = problems[name].flatMap((p) => p.samples);
  const [figure, svg] = frame(parent, "Length against correctness", 340, 220);
  const most = samples.reduce((m, s) => Math.max(m, s[TOKENS]), 1);
  const bins = Array.from({ length: 24 }, () => ({ right: 0, wrong: 0, cut: 0 }));
  for (const s of samples) bins[Math.min(23, Math.floor((24 * s[TOKENS]) / most))][s[FINISH] === "length" ? "cut" : right(s) ? "right" : "wrong"]++;
  const top = Math.max(...bins.map((bin) => bin.right + bin.wrong + bin.cut));
  bins.forEach((bin, i) => {
    let y = 190;
    for (const kind of ["right", "wrong", "cut"]) {
      const height = (175 * bin[kind]) / top;
      y -= height;
      if (height) draw(draw(svg, "rect", { x: 36 + i * 12.2, y, width: 11.2, height, fill: COLOURS[kind] }), "title", {}, `${bin[kind]} ${kind === "cut" ? "truncated" : kind}`);
    }
  });
  draw(svg, "text", { x: 36, y: 207 }, "0");
  draw(svg, "text", { x: 330, y: 207, "text-anchor": "end" }, `${most} tokens`);
  draw(svg, "text", { x: 30, y: 20, "text-anchor": "end" }, top);
  const mean = (kind) => (b.length[kind] ? `${Math.round(b.length[kind].mean)}` : "-");
  add(figure, "figcaption", `green right, red wrong, grey truncated; mean tokens: right ${mean("right")}, wrong or truncated ${mean("wrong")}`);
}

function charts() {
  for (const [name, b] of Object.entries(summary.benchmarks)) {
    const card = add($("charts"), "div", null, { class: "card" });
    const head = add(card, "div");
    add(head, "h3", `${name}: ${b.problems} problems, ${b.samples} samples each`);
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
    passCurve(card, name, b);
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
  nobox: ["without a box", (p) => p.samples.some((s) => s[ANSWER] === null)],
  failed: ["grader failed", (p) => p.samples.some((s) => s[VERDICT] === "failed")],
};

function matches(p, words) {
  const within = (text) => text !== null && text.toLowerCase().includes(words);
  return !words || within(p.id) || within(p.problem) || within(p.answer) || p.samples.some((s) => within(s[ANSWER]) || within(s[TEXT]));
}

function list() {
  const name = $("benchmark").value;
  const words = $("search").value.trim().toLowerCase();
  const found = problems[name].filter((p) => WHICH[$("which").value][1](p) && matches(p, words));
  $("count").textContent = `${found.length} of ${problems[name].length} problems`;
  $("problems").replaceChildren();
  for (const p of found) {
    const button = add(add($("problems"), "li"), "button", null, { type: "button", "data-id": p.id });
    add(button, "span", p.id);
    add(button, "span", `${p.samples.filter(right).length}/${p.samples.length}`, { class: share(p) >= 0.5 ? "right" : "wrong" });
    button.addEventListener("click", () => open(name, p, false));
  }
  if (found.length) open(name, found[0], false);
  else $("problem").replaceChildren();
}

function open(name, p, scroll) {
  if ($("benchmark").value !== name || (scroll && ![...$("problems").querySelectorAll("button")].some((b) => b.dataset.id === p.id))) {
    $("benchmark").value = name;
    $("which").value = "all";
    $("search").value = "";
    list();
  }
  for (const button of $("problems").querySelectorAll("button")) {
    if (button.dataset.id === p.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const article = $("problem");
  article.replaceChildren();
  add(article, "h3", p.id);
  add(article, "pre", p.problem, { class: "asked" });
  add(article, "p", `gold: ${p.answer}`, { class: "gold" });
  const shown = add(article, "pre", "", { class: "response", hidden: "" });
  const table = add(add(article, "div", null, { class: "scroll" }), "table");
  const head = add(add(table, "thead"), "tr");
  for (const title of ["sample", "verdict", "answer", "reason", "tokens", "ended by", "seed", "engine", "response"]) add(head, "th", title);
  const body = add(table, "tbody");
  p.samples.forEach((s, i) => {
    const row = add(body, "tr");
    const cut = s[FINISH] === "length";
    add(row, "td", i);
    add(row, "td", cut ? `wrong (truncated; graded ${s[VERDICT]})` : s[VERDICT], { class: cut ? "cut" : s[VERDICT] });
    for (const text of [s[ANSWER] ?? "no box", s[REASON], s[TOKENS], s[FINISH], s[SEED], s[ENGINE]]) add(row, "td", text);
    const cell = add(row, "td");
    if (s[TEXT] === null) {
      add(cell, "span", "in samples.sqlite", { class: "cut" });
      return;
    }
    const button = add(cell, "button", "show", { type: "button", "data-sample": i });
    button.addEventListener("click", () => {
      shown.hidden = false;
      shown.textContent = s[TEXT];
      shown.scrollIntoView({ block: "nearest" });
    });
  });
  if (scroll) $("browser").scrollIntoView();
}

function made() {
  const lines = {
    model: summary.model, identity: JSON.stringify(summary.identity),
    responses: whole ? "all of them are in this page" : "the first of each verdict to each problem, clipped; all are in samples.sqlite beside this page",
  };
  for (const [title, p] of Object.entries(published)) lines[`published: ${title}`] = `${p.source}; weights ${p.weights}`;
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
for (const id of ["benchmark", "which"]) $(id).addEventListener("change", list);
$("search").addEventListener("input", list);
made();
list();
