// The confusion matrix: a grid whose cells open onto the photographs in them.

const opened = { row: null, column: null };
const MOST_CONFUSED = 12;

// Rows are true labels; the share of a row in this cell decides the shade.
function level(value, total, isHit) {
  if (!value) return "";
  const bounds = isHit ? [0.3, 0.55, 0.75, 0.9] : [0.02, 0.05, 0.1, 0.2];
  return `${isHit ? "hit" : "miss"}-${1 + bounds.filter((bound) => value / total >= bound).length}`;
}

function sentence(row, column) {
  const [label, predicted] = [data.labels[row], data.labels[column]];
  const value = figures().confusion[row][column];
  const total = sum(figures().confusion[row]);
  const share = `${plural(value, "photograph")} of ${count(total)}`;
  return row === column ? `${label}, recognised: ${share}` : `${label} taken for ${predicted}: ${share}`;
}

function drawMatrix() {
  const { confusion } = figures();
  const size = data.labels.length;
  const grade = size <= 6 ? "large" : size <= 14 ? "middle" : size <= 40 ? "small" : "tiny";
  const head = element("tr", {}, element("th", { class: "corner" }, element("span", { text: "label ↓ · predicted →" })));
  head.append(...data.labels.map((text) => element("th", { scope: "col", title: text }, element("span", { text }))));
  const rows = confusion.map((values, row) => {
    const total = sum(values);
    const cells = values.map((value, column) =>
      element("td", {
        class: level(value, total, row === column),
        tabindex: row + column === 0 ? 0 : -1,
        "aria-label": value ? sentence(row, column) : null,
        text: !value ? "" : grade === "tiny" && value > 999 ? `${Math.round(value / 1000)}k` : count(value),
      }),
    );
    const text = data.labels[row];
    return element("tr", {}, element("th", { scope: "row", title: text }, element("span", { text })), ...cells);
  });
  const table = element(
    "table",
    { class: `matrix ${grade}`, role: "grid", "aria-label": "Confusion matrix; rows are labels, columns are predicted" },
    element("thead", {}, head),
    element("tbody", {}, ...rows),
  );
  const caption = element("p", { class: "reading", "aria-live": "polite", text: "Choose a cell to see its photographs." });
  listen(table, caption);
  const legend = element("p", { class: "legend" }, element("span", { class: "hit-4", text: "recognised" }));
  legend.append(" ", element("span", { class: "miss-4", text: "mistaken" }), " Stronger: a larger share of the row’s label.");
  const frame = element("div", { class: "frame" }, element("div", { class: "scroll" }, table), caption, legend);
  const side = element("div", { id: "pairs" });
  body("confusion").replaceChildren(element("div", { class: "beside" }, frame, side), element("div", { id: "cell" }));
  drawPairs();
  drawCell();
}

const positionOf = (cell) => [cell.parentElement.rowIndex - 1, cell.cellIndex - 1];

function listen(table, caption) {
  const light = (event) => {
    const cell = event.target.closest("td");
    table.querySelectorAll(".lit").forEach((lit) => lit.classList.remove("lit"));
    if (!cell) return;
    const [row, column] = positionOf(cell);
    caption.textContent = sentence(row, column);
    for (const each of table.rows) each.cells[column + 1].classList.add("lit");
    for (const each of table.rows[row + 1].cells) each.classList.add("lit");
  };
  table.addEventListener("mouseover", light);
  table.addEventListener("focusin", light);
  table.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (cell) openCell(...positionOf(cell));
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    const [row, column] = positionOf(cell);
    const last = data.labels.length - 1;
    const target = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, last], PageUp: [Math.max(row - 10, 0), column], PageDown: [Math.min(row + 10, last), column],
    }[event.key];
    if (event.key === "Enter" || event.key === " ") openCell(row, column);
    else if (!target) return;
    else moveTo(table, cell, table.rows[target[0] + 1]?.cells[target[1] + 1]);
    event.preventDefault();
  });
}

function moveTo(table, from, cell) {
  if (cell?.tagName !== "TD") return;
  from.tabIndex = -1;
  table.querySelectorAll("td[tabindex='0']").forEach((other) => (other.tabIndex = -1));
  cell.tabIndex = 0;
  cell.focus({ preventScroll: true });
  reveal(cell);
  cell.scrollIntoView({ block: "nearest" });
}

// Scrolls the box around the matrix, not the page.
function reveal(cell) {
  const box = cell.closest(".scroll");
  const [outer, inner] = [box.getBoundingClientRect(), cell.getBoundingClientRect()];
  const [head, side] = [box.querySelector("thead").offsetHeight, box.querySelector("tbody th").offsetWidth];
  const isSeen = inner.top >= outer.top + head && inner.bottom <= outer.bottom && inner.left >= outer.left + side && inner.right <= outer.right;
  if (!isSeen) box.scrollBy(inner.left - (outer.left + side + outer.right) / 2, inner.top - (outer.top + head + outer.bottom) / 2);
}

function openCell(row, column) {
  Object.assign(opened, { row, column });
  drawCell();
  reveal(document.querySelector("td.open"));
  const heading = document.querySelector("#cell h3");
  heading.focus({ preventScroll: true });
  section("cell").scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function drawCell() {
  document.querySelectorAll("td.open").forEach((cell) => cell.classList.remove("open"));
  const target = section("cell");
  if (opened.row === null) return target?.replaceChildren();
  const { row, column } = opened;
  document.querySelector(".matrix").rows[row + 1].cells[column + 1].classList.add("open");
  const [label, predicted] = [data.labels[row], data.labels[column]];
  const inside = photographs.filter((p) => p.split === state.split && p.label === label && p.predicted === predicted);
  const pictures = element("div");
  const value = figures().confusion[row][column];
  const close = element("button", { type: "button", class: "close", "aria-label": "Close these photographs", text: "✕", onclick: closeCell });
  target.replaceChildren(element("div", { class: "head" }, element("h3", { tabindex: -1, text: sentence(row, column) }), close), pictures);
  const whenNone = value ? "They are listed in predictions.parquet beside this page." : "No photograph is in this cell.";
  gallery(pictures, inside.map(scored), whenNone);
  if (inside.length && inside.length < value) {
    target.append(note(`${count(inside.length)} of them are listed here, the most telling first; predictions.parquet has all.`));
  }
}

function closeCell() {
  const cell = document.querySelector("td.open");
  Object.assign(opened, { row: null, column: null });
  drawCell();
  if (cell) moveTo(document.querySelector(".matrix"), cell, cell);
}

function drawPairs() {
  const found = [];
  figures().confusion.forEach((values, row) => {
    const total = sum(values);
    values.forEach((value, column) => {
      if (row !== column && value) found.push({ row, column, value, share: value / total });
    });
  });
  const text = (pair) => `${data.labels[pair.row]}\n${data.labels[pair.column]}`.toLowerCase();
  const passing = found.filter((pair) => passesFilter(text(pair)));
  passing.sort((a, b) => b.value - a.value || b.share - a.share);
  const items = passing.slice(0, MOST_CONFUSED).map(({ row, column, value, share }) =>
    element("li", {}, element(
      "button",
      { type: "button", onclick: () => openCell(row, column) },
      element("span", {}, element("b", { text: data.labels[row] }), " → ", element("b", { class: "wrong", text: data.labels[column] })),
      element("span", { class: "number", text: `${count(value)} · ${percent(share, 0)}` }),
    )),
  );
  const whenNone = note(found.length ? "No confused labels match the filter." : "Nothing was confused.");
  section("pairs").replaceChildren(element("h3", { text: "Most confused" }), items.length ? element("ol", {}, ...items) : whenNone);
}
