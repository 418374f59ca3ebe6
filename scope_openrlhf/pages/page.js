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
