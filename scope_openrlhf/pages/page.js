"use strict";
// What every page has: elements, mathematics, light and dark. Texts of models and data go in as text nodes only.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const percent = (x) => (x === null || x === undefined ? "-" : (100 * x).toFixed(2));

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

// $$...$$, \[...\], \(...\) and $...$; a dollar before a digit or a letter closes nothing: it is money.
// An opening mark ends the search of the one before, so that a text of nothing else takes no time.
const MATHS = /\$\$([^]{1,2000}?)\$\$|\\\[((?:(?!\\\[)[^]){1,2000}?)\\\]|\\\(((?:(?!\\\()[^]){1,2000}?)\\\)|(?<![\\$\w])\$(?=\S)([^$\n]{1,500}?)(?<=\S)\$(?!\w)/g;
const MOST_FORMULAS = 400; // of one text, so that a hostile one cannot hold up the page
const spoken = new WeakMap();
let typesetting = true;

// A formula; where it cannot be typeset, its source.
function formula(parent, source, written, display) {
  const place = add(parent, "span");
  try {
    katex.render(source, place, { output: "mathml", displayMode: display, throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 200 });
  } catch {
    place.textContent = written;
    place.className = "untypeset";
    place.title = "could not be typeset";
  }
}

function typeset(element) {
  const { text, whole } = spoken.get(element);
  element.replaceChildren();
  if (!typesetting) return void (element.textContent = text);
  if (whole && /[\\^_]/.test(text)) return formula(element, text, text, false);
  let at = 0;
  let count = 0;
  for (const found of text.matchAll(MATHS)) {
    if (++count > MOST_FORMULAS) break;
    element.append(text.slice(at, found.index));
    formula(element, found[1] ?? found[2] ?? found[3] ?? found[4], found[0], found[1] !== undefined || found[2] !== undefined);
    at = found.index + found[0].length;
  }
  element.append(text.slice(at));
}

// Show a text with its formulas. whole: it is a formula without marks, as a gold answer is.
function say(element, text, whole = false) {
  spoken.set(element, { text, whole });
  element.classList.add("text");
  typeset(element);
  return element;
}

// A list of which one entry is chosen, with the pointer or with the arrow keys. entry: (item, button) fills its button,
// choose: (item) shows it. It returns a function that marks an item as chosen without showing it.
function choices(list, items, entry, choose) {
  list.replaceChildren();
  const buttons = new Map();
  const mark = (item) => {
    for (const [other, button] of buttons) {
      button.tabIndex = other === item ? 0 : -1; // one stop of the tab key for all of them
      if (other === item) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  };
  const take = (item) => (mark(item), choose(item));
  for (const item of items) {
    const button = add(add(list, "li"), "button", null, { type: "button", tabindex: buttons.size ? -1 : 0 });
    buttons.set(item, button);
    entry(item, button);
    button.addEventListener("click", () => take(item));
    button.addEventListener("keydown", (event) => {
      const at = items.indexOf(item);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
      if (next === undefined || !items[next]) return;
      event.preventDefault();
      buttons.get(items[next]).focus();
      take(items[next]);
    });
  }
  return (item) => {
    mark(item);
    const button = buttons.get(item);
    const at = button ? button.offsetTop - list.offsetTop : 0;
    if (at < list.scrollTop || at > list.scrollTop + list.clientHeight - 40) list.scrollTop = at - 60;
  };
}

// The end of the address that names a problem, and what such an address names.
const addressOf = (benchmark, id) => `#${encodeURIComponent(benchmark)}/${encodeURIComponent(id)}`;
function namedProblem() {
  try {
    return location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

// A value in percent in a cell of a table, with its interval.
function percentCell(row, value, interval) {
  const cell = add(row, "td", percent(value));
  if (interval && interval[0] !== null) add(cell, "small", `[${(100 * interval[0]).toFixed(1)}, ${(100 * interval[1]).toFixed(1)}]`);
  return cell;
}

// A table in a box of its own that scrolls sideways where it is too wide. Returns its body.
function table(parent, heads) {
  const whole = add(add(parent, "div", null, { class: "scroll", tabindex: 0, role: "group", "aria-label": "table" }), "table");
  const row = add(add(whole, "thead"), "tr");
  for (const head of heads) add(row, "th", head, { scope: "col" });
  return add(whole, "tbody");
}

function switches(parent) {
  const maths = add(parent, "button", "show LaTeX", { type: "button", id: "maths" });
  maths.addEventListener("click", () => {
    typesetting = !typesetting;
    maths.textContent = typesetting ? "show LaTeX" : "typeset LaTeX";
    document.querySelectorAll(".text").forEach(typeset);
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const theme = add(parent, "button", "", { type: "button", id: "theme" });
  const label = () => (theme.textContent = isDark() ? "light" : "dark");
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
}
switches(document.querySelector("header"));
