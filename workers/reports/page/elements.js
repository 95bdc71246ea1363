"use strict";
// What all parts of the page use.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { split: "test", filter: "" };
const COLUMNS = ["path", "split", "label", "predicted", "score", "labelScore", "margin", "link"];
// A set of labels is written as a JSON list.
const named = (text) => (data.isMultiLabel && text !== null ? JSON.parse(text).join(", ") || "no label" : text);
const photographs = data.photographs.map((row, index) => {
  const photograph = Object.fromEntries(COLUMNS.map((name, i) => [name, row[i]]));
  photograph.label = named(photograph.label);
  photograph.predicted = named(photograph.predicted);
  const thumbnail = data.thumbnails[index];
  photograph.thumbnail = thumbnail ? `data:image/jpeg;base64,${thumbnail}` : null;
  photograph.link = data.link + (photograph.link ?? photograph.path);
  photograph.text = `${photograph.label}\n${photograph.predicted ?? ""}\n${photograph.path}`.toLowerCase();
  return photograph;
});

// Text is always set as text, never as HTML: labels and paths come from strangers.
const element = (name, properties, ...children) => fill(document.createElement(name), properties, children);
const drawing = (name, properties, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), properties, children);

function fill(made, properties = {}, children = []) {
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const section = (id) => document.getElementById(id);
const body = (id) => document.querySelector(`#${id} > .body`);
const count = (number) => number.toLocaleString("en-US");
const plural = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
const isNumber = (value) => typeof value === "number";
// 1.00 would claim more certainty than 0.998.
const score = (value) => (!isNumber(value) ? "–" : value < 1 && value >= 0.995 ? "0.99+" : value.toFixed(2));
const percent = (value, digits = 1) => (isNumber(value) ? `${(100 * value).toFixed(digits)} %` : "–");
const figures = () => data.splits[state.split];
const held = () => `${state.split} photograph`;

// Whether a text, in lower case, has all words of the filter.
const passesFilter = (text) => state.filter.split(/\s+/).every((word) => text.includes(word));
const sum = (values) => values.reduce((a, b) => a + b, 0);

function show(id, isShown) {
  section(id).hidden = !isShown;
  const link = document.querySelector(`#sections a[href="#${id}"]`);
  if (link) link.parentElement.hidden = !isShown;
}

const note = (text) => element("p", { class: "note", text });
