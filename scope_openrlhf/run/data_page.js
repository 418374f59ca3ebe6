"use strict";
// The page of a look at the data.
const many = (v) => v.toLocaleString("en");

function table(element, names, rows) {
  const head = add(add(element, "thead"), "tr");
  for (const name of names) add(head, "th", name);
  const body = add(element, "tbody");
  for (const cells of rows) {
    const line = add(body, "tr");
    for (const cell of cells) add(line, "td", typeof cell === "number" ? many(cell) : cell);
  }
}

function verdict() {
  $("title").textContent = data.path;
  $("about").textContent = `${many(data.of)} rows; written ${data.written}; the page needs no network`;
  const parent = $("verdict");
  if (!data.refused.length) add(parent, "p", `Can be trained on: ${many(data.taken)} of ${many(data.of)} rows.`, { class: "good" });
  for (const why of data.refused) add(parent, "p", `Training refuses these data: ${why}`, { class: "warning" });
  for (const note of data.notes) add(parent, "p", note, { class: "hint" });
}

function columns() {
  $("whose").textContent = data.head.slice(2).map((line) => line.replace(/\s+/, ": ")).join("; ");
  table($("columns"), ["column", "read as", "its first value"], data.columns);
}

function lengths() {
  const parent = $("lengths");
  const found = data.lengths;
  if (!data.bars.length) return void add(parent, "p", "Without the student's tokenizer and its chat template there are no lengths.", { class: "hint" });
  const share = (count) => `${many(count)} (${percent(count / data.taken)}%)`;
  const rows = [["shortest", found.min], ["median", found.median], ["95% are at most", found.p95], ["longest", found.max]];
  if (data.limit) rows.push(["longest that fits", data.limit.prompt], ["too long", share(found.over)]);
  table(add(add(parent, "div", null, { class: "scroll" }), "table"), ["tokens of a prompt", ""], rows);
  if (data.limit) add(parent, "p", `What fits is set by ${data.limit.what} ${many(data.limit.most)}, less what is kept for the response.`, { class: "hint" });
  histogram();
}

function histogram() {
  const { bars, limit } = data;
  const [from, to] = [bars[0][0] - 0.5, bars.at(-1)[1] + 0.5]; // a length stands in the middle of its place
  const most = Math.max(...bars.map(([, , count]) => count));
  const chart = axes($("histogram"), "Lengths of the prompts", "", { label: "tokens of a prompt", from, to, say: (v) => (Number.isInteger(v) ? many(v) : "") }, { label: "prompts", from: 0, to: most * 1.05, say: (v) => (Number.isInteger(v) ? many(v) : "") });
  for (const [low, high, count] of bars) {
    const [left, right, top] = [chart.atX(low - 0.5), chart.atX(high + 0.5), chart.atY(count)];
    const long = limit && low > limit.prompt;
    const bar = draw(chart.svg, "rect", { x: left, y: top, width: Math.max(1, right - left - 1), height: Math.max(0, chart.atY(0) - top), fill: long ? "var(--vermillion)" : "var(--blue)" });
    draw(bar, "title", {}, `${low === high ? low : `${low} to ${high}`} tokens: ${many(count)} prompts`);
  }
  if (!limit || limit.prompt < from || limit.prompt >= to) return;
  const at = chart.atX(limit.prompt + 0.5);
  draw(chart.svg, "line", { x1: at, x2: at, y1: chart.atY(most), y2: chart.atY(0), stroke: "var(--vermillion)", "stroke-width": 2, "stroke-dasharray": "5 3" });
  legend(chart.figure, [{ name: "longest prompt that fits", colour: "var(--vermillion)", dash: "5 3" }]);
}

function golds() {
  const graded = data.of - data.ungradable;
  $("graded").textContent = `${many(graded)} of ${many(data.of)} can be graded (${percent(graded / data.of)}%).`;
  table($("golds"), ["the grader reads", "rows"], data.golds);
  if (data.untried) $("graded").append(` ${many(data.untried)} formulas of them were not tried, which would take minutes.`);
  const parent = $("faults");
  if (!data.faults.length) return;
  add(parent, "p", `${many(data.ungradable)} cannot (${percent(data.ungradable / data.of)}%):`);
  table(add(add(parent, "div", null, { class: "scroll", style: "max-height: 360px" }), "table"), ["why", "rows", "the first"], data.faults.map(([why, count, row]) => [why, count, `row ${row}`]));
  if (data.of_faults > data.faults.length) add(parent, "p", `the first ${data.faults.length} of ${many(data.of_faults)} reasons`, { class: "hint" });
}

// A prompt with its special tokens marked. Longer ones are found before those that they begin with.
function prompt(parent, row) {
  const pre = add(parent, "pre", null, { class: "prompt" });
  if (!row.rendered) return void say(pre, row.prompt);
  const special = data.special.toSorted((a, b) => b.length - a.length).map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const parts = special.length ? row.prompt.split(new RegExp(`(${special.join("|")})`)) : [row.prompt];
  parts.forEach((part, i) => {
    if (i % 2) add(pre, "span", part, { class: "special", title: "a special token" });
    else if (part) say(add(pre, "span"), part);
  });
}

function show(row) {
  const article = $("row");
  article.replaceChildren();
  add(article, "h3", [`row ${row.row}`, row.id === null ? null : `id ${row.id}`, row.tokens === null ? null : `${many(row.tokens)} tokens`].filter((t) => t !== null).join(", "));
  for (const fault of row.faults) add(article, "p", fault, { class: "warning" });
  if (row.again) add(article, "p", `${row.again.exact ? "Was there before" : "Was there before but for case, spaces and punctuation"}: row ${row.again.row}${row.again.other === null ? "" : `, where the answer is ${row.again.other}`}`, { class: "warning" });
  for (const held of row.held) add(article, "p", `Is held out: ${held}`, { class: "warning" });
  add(article, "p", row.rendered ? "As the student gets it" : "As chat messages", { class: "hint" });
  prompt(article, row);
  const list = add(article, "dl");
  add(list, "dt", "in the data");
  add(list, "dd", row.written);
  if (row.gold !== null) {
    add(list, "dt", "gold answer");
    say(add(list, "dd", null, { class: "gold" }), row.gold, !row.gold.includes("$"));
    add(list, "dt", "read as");
    add(list, "dd", row.kind);
  }
  if (row.trace !== null) {
    add(article, "h3", "Worked solution");
    say(add(article, "pre"), row.trace);
  }
}

function rows() {
  for (const [i, kind] of data.kinds.entries()) add($("which"), "option", `${kind.name} (${many(kind.of)})`, { value: i });
  $("which").addEventListener("change", list);
  list();
}

function list() {
  const kind = data.kinds[$("which").value];
  $("kept").textContent = kind.rows.length < kind.of ? `${kind.rows.length} of ${many(kind.of)} such rows, at even distances.` : "";
  $("list").replaceChildren();
  for (const number of kind.rows) {
    const row = data.rows[number];
    const button = add(add($("list"), "li"), "button", null, { type: "button" });
    add(button, "span", row.id === null ? `row ${number}` : `row ${number}, ${row.id}`);
    add(button, "span", row.faults.length ? "fault" : row.gold.length > 24 ? `${row.gold.slice(0, 24)}...` : row.gold, { class: row.faults.length ? "failed" : "faint" });
    button.addEventListener("click", () => {
      for (const other of $("list").querySelectorAll("button")) other.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      show(row);
    });
  }
  $("list").querySelector("button").click();
}

verdict();
columns();
lengths();
golds();
for (const line of data.overlap) add($("overlap"), "p", line, line.startsWith("warning") || line.includes("another answer") ? { class: "warning" } : {});
rows();
