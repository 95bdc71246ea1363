// Cards of photographs, galleries of cards, and the viewer that shows one large.

const AT_ONCE = 24;

function picture(photograph, isLazy = true) {
  if (photograph.thumbnail) {
    return element("img", { src: photograph.thumbnail, alt: "", loading: isLazy ? "lazy" : "eager", decoding: "async" });
  }
  const name = photograph.path.split("/").pop();
  return element("span", { class: "gap" }, element("span", { text: "no preview" }), element("code", { text: name }));
}

function verdict(photograph) {
  const { label, predicted } = photograph;
  if (predicted === null) return [element("b", { text: label }), ` · ${photograph.split}`];
  if (label === predicted) return [element("b", { class: "right", text: label }), " · right"];
  return [element("b", { text: label }), " taken for ", element("b", { class: "wrong", text: predicted })];
}

function meter(value, isWrong) {
  const bar = element("span", { class: isWrong ? "meter wrong" : "meter", "--part": value ?? 0 });
  return element("span", { class: "score" }, bar, element("span", { text: score(value) }));
}

// item: {photograph, lines (nodes), other (a second photograph, if any)}
function card(item, items) {
  const shown = photographsOf(item);
  const button = element(
    "button",
    { type: "button", class: shown.length > 1 ? "photo pair" : "photo", title: item.photograph.path },
    element("span", { class: "well" }, ...shown.map((photograph) => picture(photograph))),
    element("span", { class: "caption" }, ...item.lines),
  );
  button.addEventListener("click", () => openViewer(items, items.indexOf(item), button));
  return element("li", {}, button, item.suggestion ? correction(item) : null);
}

const line = (...children) => element("span", { class: "line" }, ...children);

function scored(photograph) {
  const lines = [line(...verdict(photograph))];
  if (isNumber(photograph.score)) lines.push(meter(photograph.score, photograph.label !== photograph.predicted));
  return { photograph, lines };
}

function doubtful(photograph) {
  const item = scored(photograph);
  item.lines.push(line(`leads by ${score(photograph.margin)}`));
  return item;
}

function suspect(row) {
  const photograph = photographs[row.photograph];
  const suggestion = { label: row.suggested, text: named(row.suggested), score: row.score, reason: row.reason };
  // The reason of most only repeats the two labels; that of a copy names the other file.
  if (suggestion.reason.startsWith("looks like")) suggestion.reason = "";
  const lines = [line("filed under ", element("b", { text: photograph.label }))];
  lines.push(line("looks like ", element("b", { class: "wrong", text: suggestion.text })), meter(row.score, true));
  lines.push(element("span", { class: "file", text: photograph.path.split("/").pop() }));
  return { photograph, lines, suggestion };
}

function pair(row) {
  const [photograph, other] = [photographs[row.photograph], photographs[row.other]];
  const sides = [photograph, other].map((one) => `${one.label} (${one.split})`);
  const isOdd = photograph.label !== other.label;
  const lines = [line(element("b", { class: isOdd ? "wrong" : null, text: sides.join(" = ") }))];
  lines.push(line(`similarity ${isNumber(row.similarity) ? row.similarity.toFixed(4) : "–"}`));
  return { photograph, other, lines };
}

const photographsOf = (item) => [item.photograph, item.other].filter(Boolean);

// Draws the items that pass the filter into `target`, some at a time; returns how many pass.
function gallery(target, items, whenNone) {
  const passing = items.filter((item) => photographsOf(item).some(({ text }) => passesFilter(text)));
  const list = element("ul", { class: "gallery" });
  const more = element("button", { type: "button", class: "more" });
  const extend = () => {
    const start = list.children.length;
    list.append(...passing.slice(start, start + AT_ONCE).map((item) => card(item, passing)));
    const left = passing.length - list.children.length;
    more.hidden = left <= 0;
    more.textContent = left > AT_ONCE ? `Show ${AT_ONCE} more of ${count(left)}` : `Show the last ${left}`;
    if (start) list.children[start]?.firstChild.focus();
  };
  more.addEventListener("click", extend);
  extend();
  const none = items.length ? "None of these matches the filter." : whenNone;
  target.replaceChildren(...(passing.length ? [list, more] : [note(none)]));
  return passing.length;
}

const viewer = document.getElementById("viewer");
const viewing = { items: [], index: 0, from: null };

function openViewer(items, index, from) {
  Object.assign(viewing, { items, index, from });
  drawViewer();
  viewer.showModal();
}

function facts(photograph, suggestion) {
  const isWrong = photograph.predicted !== null && photograph.label !== photograph.predicted;
  const rows = [["label", element("b", { text: photograph.label })]];
  if (suggestion) {
    rows.push(["looks like", element("b", { class: "wrong", text: suggestion.text })], ["its score", meter(suggestion.score, true)]);
    if (suggestion.reason) rows.push(["because it", suggestion.reason]);
  } else if (photograph.predicted !== null) {
    const predicted = element("b", { class: isWrong ? "wrong" : "right", text: photograph.predicted });
    rows.push(["predicted", predicted], ["its score", meter(photograph.score, isWrong)]);
  }
  if (!suggestion && isWrong && isNumber(photograph.labelScore)) rows.push(["score of the label", meter(photograph.labelScore)]);
  if (!suggestion && isNumber(photograph.margin)) rows.push(["leads the second by", score(photograph.margin)]);
  rows.push(["split", photograph.split]);
  rows.push(["file", element("a", { href: photograph.link, target: "_blank", rel: "noopener" }, ...breakable(photograph.path))]);
  return element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", {}, value)]));
}

function drawViewer() {
  const { items, index } = viewing;
  const item = items[index];
  const shown = photographsOf(item);
  const stepButton = (by, text, label) =>
    element("button", { type: "button", "aria-label": label, text, disabled: !items[index + by], onclick: () => step(by) });
  viewer.replaceChildren(
    element(
      "div",
      { class: "head" },
      stepButton(-1, "←", "Previous photograph"),
      element("span", { text: `${count(index + 1)} of ${count(items.length)}` }),
      stepButton(1, "→", "Next photograph"),
      element("button", { type: "button", class: "close", "aria-label": "Close", text: "✕", onclick: () => viewer.close() }),
    ),
    element(
      "div",
      { class: "shown" },
      ...shown.map((photograph) =>
        element("figure", {}, large(photograph), element("figcaption", {}, facts(photograph, item.suggestion))),
      ),
    ),
    item.suggestion ? correction(item, true) : "",
  );
}

// The preview at once, and the photograph itself over it where this page can still reach it.
function large(photograph) {
  const original = element("img", { class: "original", alt: "", decoding: "async", hidden: true });
  original.addEventListener("load", () => (original.hidden = false));
  original.addEventListener("error", () => original.remove());
  original.src = photograph.link;
  return element("span", { class: "large" }, picture(photograph, false), original);
}

// A path that may be broken after the marks in it, not in the middle of a word.
function breakable(path) {
  return path.split(/(?<=[/_.-])/).flatMap((part) => [part, element("wbr")]);
}

function step(by) {
  if (!viewing.items[viewing.index + by]) return;
  viewing.index += by;
  drawViewer();
  // The pressed button went with the old picture.
  viewer.querySelector(`[aria-label="${by > 0 ? "Next" : "Previous"} photograph"]:enabled`)?.focus();
  if (!viewer.contains(document.activeElement)) viewer.querySelector(".close").focus();
}

viewer.addEventListener("keydown", (event) => {
  if (event.target.tagName === "SELECT") return;
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
viewer.addEventListener("close", () => viewing.from?.focus());
