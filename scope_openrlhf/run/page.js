"use strict";
// The page of a run, or of several over each other.
const { runs, charts } = data;
const VERDICTS = { right: "var(--right)", wrong: "var(--wrong)", "all right": "var(--right)", "all wrong": "var(--wrong)" };
const REST = COLOURS.slice(2); // beside the two of the verdicts
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const colourOf = (i) => COLOURS[i % COLOURS.length];
const verdictOf = (r) => (r.truncated ? `truncated, ${r.route}` : r.route);

function head() {
  $("title").textContent = runs.map((run) => run.name).join(", ");
  $("about").textContent = `written ${data.written}; the page needs no network`;
  const scored = runs.some((run) => run.evaluation) ? ["Avg before, %", "Avg after, %", "Pass before, %", "Pass after, %"] : [];
  const body = table($("runs"), ["run", "algorithm", "step", "seconds a step", "time left", "faults", ...scored]);
  for (const run of runs) {
    const line = add(body, "tr");
    const left = (run.of - run.step) * (run.seconds ?? 0);
    const time = run.done ? "done" : run.step >= run.of ? "trained" : run.seconds ? `${Math.floor(left / 3600)} h ${Math.ceil((left % 3600) / 60)} min` : "-";
    for (const text of [run.name, run.algorithm, `${run.step} of ${run.of ?? "-"}`, number(run.seconds), time, run.of_faults]) add(line, "td", text);
    const e = run.evaluation;
    if (e) for (const v of [e.before.avg, e.after.avg, e.before.pass, e.after.pass]) add(line, "td", percent(v));
  }
}

function faults() {
  const counted = ["dropped", "truncated", "repeating", "grader_failed", "teacher_failed", "context_failed", "context_too_long"];
  const parent = $("faults");
  add(parent, "h2", "Faults so far");
  for (const run of runs) {
    const { steps, values, each } = run.curves;
    const found = counted.map((key) => [key, (values[key] ?? []).map((v, i) => [steps[i], (v ?? 0) * each]).filter(([, v]) => v > 0)]).filter(([, list]) => list.length);
    const words = found.map(([key, list]) => `${key.replaceAll("_", " ")}: about ${Math.round(list.reduce((sum, [, v]) => sum + v, 0)).toLocaleString("en")} rollouts, first at step ${list[0][0]}, last at step ${list.at(-1)[0]}`);
    const started = run.of_faults ? "" : " It never had to start again.";
    add(parent, "p", `${run.name}: ${words.join("; ") || "no rollout was dropped, cut or left without a grade or a score"}.${started}`);
    for (const fault of run.faults) add(parent, "p", `${run.name}, ${fault.at}, after step ${fault.step}: ${fault.what}`, { class: "warning" });
    if (run.of_faults > run.faults.length) add(parent, "p", `the last ${run.faults.length} of ${run.of_faults}`, { class: "hint" });
  }
}

// A run has a colour where there are several; else a line has one, and right and wrong have theirs everywhere.
function curve(chart) {
  const lines = [];
  const others = chart.lines.filter((line) => !(line.name in VERDICTS));
  const palette = others.length < chart.lines.length ? REST : COLOURS;
  const own = (line) => VERDICTS[line.name] ?? palette[others.indexOf(line) % palette.length];
  runs.forEach((run, r) => {
    const { steps, values } = run.curves;
    const several = runs.length > 1;
    chart.lines.slice(0, several ? DASHES.length : undefined).forEach((line, i) => {
      if (!values[line.key]?.some((v) => v !== null)) return;
      const [low, high] = line.band ? line.band.map((key) => values[key] ?? []) : [[], []];
      lines.push({
        name: several ? (chart.lines.length > 1 ? `${run.name}: ${line.name}` : run.name) : line.name, meaning: line.about,
        colour: several ? colourOf(r) : own(line), dash: several ? DASHES[i % DASHES.length] : i >= COLOURS.length ? "7 4" : "",
        points: steps.map((step, j) => [step, values[line.key][j]]),
        band: line.band && !several ? steps.map((step, j) => [step, low[j] ?? null, high[j] ?? null]) : null,
      });
    });
  });
  if (!lines.length) return;
  const heights = lines.flatMap((line) => [...line.points.map(([, v]) => v), ...(line.band ?? []).flatMap(([, l, h]) => [l, h])]);
  const [from, to] = range(heights);
  const ends = lines.flatMap((line) => [line.points[0][0], line.points.at(-1)[0]]);
  const x = { label: "step", from: Math.min(...ends), to: Math.max(...ends) };
  if (x.to - x.from < 6) x.ticks = Array.from({ length: x.to - x.from + 1 }, (_, i) => x.from + i);
  const { figure } = lineChart($(chart.first ? "first" : "others"), chart.title, chart.about, x, { label: chart.axis, from, to }, lines);
  figure.dataset.words = `${chart.title} ${chart.about} ${lines.map((line) => line.meaning).join(" ")}`.toLowerCase();
  const bands = lines.some((line) => line.band) ? "The band goes from the first to the last decile." : "";
  const missing = runs.length > 1 && chart.lines.length > DASHES.length ? `Of several runs, ${DASHES.length} of the ${chart.lines.length} lines are drawn.` : "";
  add(figure, "figcaption", [chart.about, bands, missing].filter(Boolean).join(" "));
}

function curves() {
  const thin = runs.filter((run) => run.curves.each > 1).map((run) => `${run.name}: each point is the mean of ${run.curves.each} steps`);
  $("points").textContent = ["Each name in a legend tells its meaning when the pointer rests on it.", ...thin].join(" ");
  charts.forEach(curve);
  $("find").addEventListener("input", () => {
    const words = $("find").value.trim().toLowerCase();
    for (const figure of $("others").children) figure.hidden = !figure.dataset.words.includes(words);
  });
}

const evaluated = runs.filter((run) => run.evaluation);

function scores() {
  $("evaluation").hidden = !evaluated.length;
  for (const run of evaluated) {
    const e = run.evaluation;
    add($("scores"), "h3", `${run.name}: ${e.n} held-out problems, ${e.k} samples each`);
    const body = table($("scores"), ["", `Avg@${e.k}`, "standard error", `Pass@${e.k}`, "standard error"]);
    for (const side of ["before", "after", "difference"]) {
      const [row, v] = [add(body, "tr"), e[side]];
      for (const text of [side, percent(v.avg), percent(v.stderr_avg ?? v.stderr), percent(v.pass), percent(v.stderr_pass)]) add(row, "td", text);
    }
    const d = e.difference;
    const interval = (ci) => (ci[0] === null ? "-" : `${percent(ci[0])} to ${percent(ci[1])}`);
    add($("scores"), "p", `In percent. 95% interval of the difference, paired by problem: Avg ${interval(d.ci)}, Pass ${interval(d.pass_ci)}.`, { class: "hint" });
    const links = add($("scores"), "p", run.reports.length ? "every sample: " : "", { class: "hint" });
    for (const [name, file] of run.reports) {
      add(links, "a", name, { href: file });
      links.append("\u2003");
    }
    if (!e.problems) continue;
    const place = evaluated.length > 1 ? add($("scores"), "details") : $("scores");
    if (evaluated.length > 1) add(place, "summary", "its problems");
    problems(place, e);
  }
}

function problems(parent, e) {
  const pair = add(parent, "div", null, { class: "pair" });
  shareScatter(pair, "Problems, before and after", "before", "after", e.problems, (list) => open(list));
  const side = add(pair, "div");
  const open = (list) => listProblems(side, list, `${list.length} of ${e.problems.length} problems`);
  const changed = e.problems.toSorted((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
  listProblems(side, changed.slice(0, 40), `the ${Math.min(40, changed.length)} of ${changed.length} problems that changed most`);
}

function listProblems(parent, list, title) {
  parent.replaceChildren();
  add(parent, "h3", title);
  const body = table(parent, ["", "id", "before", "after"]);
  body.closest(".scroll").classList.add("short");
  const shown = add(parent, "div");
  for (const p of list.slice(0, 200)) {
    const row = add(body, "tr");
    add(add(row, "td"), "button", "show", { type: "button" }).addEventListener("click", () => {
      shown.replaceChildren();
      say(add(shown, "pre"), p.problem);
      say(add(add(shown, "p", "gold: "), "span"), p.answer, true);
    });
    for (const text of [p.id, percent(p.before), percent(p.after)]) add(row, "td", text);
  }
}

// What a token can be coloured by: name -> [the end in vermillion, the end in blue, number of token i, what it is].
const TOKEN_COLOURS = {
  gap: ["student surer", "teacher surer", (r, i) => (r.teacher ? r.student[i] - r.teacher[i] : null), "log p student - log p teacher, in nats"],
  weight: ["pushed down", "pushed up", (r, i) => (r.token_weight ? -r.token_weight[i] : null), "weight of the rollout times advantage of the token"],
  student: ["unlikely", "", (r, i) => -r.student[i], "-log p by the student, in nats"],
  teacher: ["unlikely", "", (r, i) => (r.teacher ? -r.teacher[i] : null), "-log p by the teacher, in nats"],
  nothing: ["", "", () => null, ""],
};
const WHICH = {
  all: ["all", () => true],
  right: ["right", (r) => r.route === "right"],
  wrong: ["wrong", (r) => r.route === "wrong"],
  truncated: ["truncated", (r) => r.truncated],
  heaviest: ["most weight first", (r) => r.weight !== null && r.weight !== undefined, (r) => r.weight],
  farthest: ["wrong, farthest from the teacher first", (r) => r.route === "wrong" && r.teacher, (r) => meanGap(r)],
};
const ALL = "all";
const meanGap = (r) => r.student.reduce((sum, v, i) => sum + v - r.teacher[i], 0) / Math.max(1, r.student.length);
const background = (v, most) => `background: color-mix(in srgb, var(--${v > 0 ? "vermillion" : "blue"}) ${Math.round(75 * Math.min(1, Math.abs(v) / most))}%, transparent)`;

function rollouts() {
  const having = runs.map((run, i) => [run, i]).filter(([run]) => run.rollouts.length);
  $("browser").hidden = !having.length;
  if (!having.length) return;
  for (const [run, i] of having) add($("run"), "option", run.name, { value: i });
  for (const [key, [label]] of Object.entries(WHICH)) add($("which"), "option", label, { value: key });
  for (const key of Object.keys(TOKEN_COLOURS)) add($("colour"), "option", key, { value: key });
  $("run").addEventListener("change", steps);
  for (const id of ["step", "which"]) $(id).addEventListener("change", list);
  $("colour").addEventListener("change", () => shown && show(shown));
  steps();
}

function steps() {
  const run = runs[$("run").value];
  const held = [...new Set(run.rollouts.map((r) => r.step))];
  $("kept").textContent = `Kept of each step: the first prompt's rollouts, those of most weight on each path, and the wrong ones farthest from the teacher. This page has ${held.length} of ${run.kept_steps} steps; rollouts.jsonl has all.`;
  $("step").replaceChildren();
  for (const step of [...held.toReversed(), ALL]) add($("step"), "option", step === ALL ? "all of them" : step, { value: step });
  list();
}

let shown = null;
function list() {
  const [, matches, order] = WHICH[$("which").value];
  const found = runs[$("run").value].rollouts.filter((r) => ($("step").value === ALL || r.step === Number($("step").value)) && matches(r));
  if (order) found.sort((a, b) => order(b) - order(a));
  const shownOnes = found.slice(0, 400);
  let group = null;
  const mark = choices($("list"), shownOnes, (r, button) => {
    if (!order && group !== `${r.step} ${r.id}`) {
      group = `${r.step} ${r.id}`;
      const of = found.filter((other) => other.step === r.step && other.id === r.id);
      const label = add($("list"), "li", `step ${r.step}, ${r.id}: ${of.filter((o) => o.route === "right").length} right of ${of.length}`, { class: "group" });
      button.parentElement.before(label);
    }
    add(button, "span", verdictOf(r), { class: r.truncated ? "cut" : r.route });
    const value = $("which").value === "farthest" ? `gap ${number(meanGap(r))}` : r.weight === null || r.weight === undefined ? "" : `weight ${number(r.weight)}`;
    add(button, "span", order ? `step ${r.step}, ${value}` : value, { class: "faint" });
  }, show);
  const first = shownOnes.find((r) => r.teacher) ?? shownOnes[0]; // one with something to see
  if (first) {
    mark(first);
    show(first);
  } else $("rollout").replaceChildren();
}

function show(r) {
  shown = r;
  const article = $("rollout");
  article.replaceChildren();
  add(article, "h3", `step ${r.step}, ${r.id}`);
  const about = add(article, "p");
  add(about, "span", verdictOf(r), { class: r.truncated ? "cut" : r.route });
  const scored = r.scored_by ? `scored by: ${r.scored_by}` : "the teacher did not score it";
  const more = r.tokens ? [`${r.length} tokens`, r.path ? `path ${r.path}, weight ${number(r.weight)}` : "on no path", scored, ...r.why] : [];
  add(about, "span", more.map((text) => ` \u00b7 ${text}`).join(""), { class: "faint" });
  say(add(article, "pre", "", { class: "prompt" }), r.prompt);
  say(add(add(article, "p", "gold: ", { class: "gold" }), "span"), r.answer, true);
  if (r.tokens) tokens(article, r);
  add(article, "h3", "Response");
  say(add(article, "pre", "", { class: "response" }), r.response);
}

function tokens(article, r) {
  const [high, low, valueOf, unit] = TOKEN_COLOURS[$("colour").value];
  const values = r.tokens.map((_, i) => valueOf(r, i));
  const known = values.filter((v) => v !== null).map(Math.abs);
  const most = $("colour").value === "weight" ? Math.max(0.01, ...known) : 3;
  add(article, "h3", "By token");
  if (known.length) scale(article, high, low, most, unit);
  else if (unit) add(article, "p", "This rollout has no such numbers.", { class: "hint" });
  const pre = add(article, "pre", null, { class: "tokens" });
  r.tokens.forEach((token, i) => {
    if (i === r.head && r.length > r.tokens.length) add(pre, "span", ` [... ${r.length - r.tokens.length} tokens left out ...] `, { class: "faint" });
    const numbers = [["student", r.student[i]], ["teacher", r.teacher?.[i]], ["gap", TOKEN_COLOURS.gap[2](r, i)], ["weight", r.token_weight?.[i]]];
    const title = numbers.map(([name, v]) => `${name} ${number(v)}`).join("\n");
    add(pre, "span", token, { title, ...(values[i] === null ? {} : { style: background(values[i], most) }) });
  });
}

function scale(article, high, low, most, unit) {
  const svg = draw(article, "svg", { viewBox: "0 0 240 30", class: "scale", role: "img", "aria-label": `from ${low || "likely"} to ${high}` });
  const steps = low ? [-1, -0.66, -0.33, 0, 0.33, 0.66, 1] : [0, 0.16, 0.33, 0.5, 0.66, 0.83, 1];
  steps.forEach((v, i) => draw(svg, "rect", { x: i * 34, y: 0, width: 34, height: 12, stroke: "var(--line)", style: background(v, 1).replace("background", "fill") }));
  draw(svg, "text", { x: 0, y: 26 }, low || "likely");
  draw(svg, "text", { x: 238, y: 26, "text-anchor": "end" }, high);
  add(article, "p", `${unit}; full colour from ${number(most)} on`, { class: "hint" });
}

head();
faults();
scores();
curves();
rollouts();
for (const run of runs) {
  const details = add($("configs"), "details");
  add(details, "summary", `${run.name}/config.yaml`);
  add(details, "pre", run.config);
}
