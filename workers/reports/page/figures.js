// The summary, the table of labels, and the details of the run.

function drawFacts() {
  const day = new Date(data.created).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
  const parts = [data.settings.architecture, plural(data.images, "photograph"), plural(data.labels.length, "label"), day];
  section("facts").replaceChildren(...parts.map((text) => element("span", { text })));
}

function tile(name, value, explanation) {
  return element("div", { class: "tile", title: explanation }, element("dt", { text: name }), element("dd", { text: value }));
}

function scale(found) {
  const [low, high] = found.accuracy_interval ?? [found.accuracy, found.accuracy];
  const bar = element("div", { class: "interval", "aria-hidden": "true", "--low": low, "--high": high, "--at": found.accuracy });
  bar.append(element("span", { class: "band" }), element("span", { class: "mark" }));
  return element("div", { class: "scale" }, bar, element("span", { text: "0 %" }), element("span", { text: "100 %" }));
}

function promise(found) {
  const interval = found.accuracy_interval;
  const right = data.isMultiLabel ? "exactly the right labels" : "the right label";
  const of = `Of 100 new photographs like these, expect about ${Math.round(100 * found.accuracy)} with ${right}`;
  const range = interval ? ` (95 % confidence: ${percent(interval[0])} to ${percent(interval[1])})` : "";
  return `${of}${range}. Measured on ${plural(found.images, "photograph")} that the model has never seen.`;
}

function biased(found) {
  const interval = found.accuracy_interval;
  const range = interval ? `, 95 % confidence ${percent(interval[0])} to ${percent(interval[1])}` : "";
  return `${plural(found.images, "photograph")}${range}. Settings of this model were chosen on the validation split, so this figure is slightly too good. Quote that of the test split.`;
}

function drawSummary() {
  const found = figures();
  if (!isNumber(found.accuracy)) {
    body("summary").replaceChildren(note(`No photographs were held out for ${state.split}.`));
    return;
  }
  const other = state.split === "test" ? "validation" : "test";
  const hero = element(
    "div",
    { class: "hero" },
    element("h3", { text: `${state.split === "test" ? "Test" : "Validation"} accuracy${data.isMultiLabel ? ", all labels right" : ""}` }),
    element("p", { class: "big", text: percent(found.accuracy) }),
    scale(found),
    element("p", { text: state.split === "test" ? promise(found) : biased(found) }),
  );
  const hasTop5 = data.labels.length > 5 && isNumber(found.top5_accuracy);
  const tiles = [
    [`${other} accuracy`, percent(data.splits[other].accuracy), "On the other held-out split"],
    ["mean average precision", isNumber(found.mean_average_precision) ? found.mean_average_precision.toFixed(3) : null, "Mean over the labels of how well their photographs come first; chance gives the share that has the label"],
    ["macro F1", isNumber(found.macro.f1) ? found.macro.f1.toFixed(3) : null, "Mean over the labels of the harmonic mean of precision and recall"],
    ["top 5", hasTop5 ? percent(found.top5_accuracy) : null, "The right label is among the best five"],
    ["photographs", hasTop5 ? null : count(found.images), "Held out from training"],
    ["log loss", isNumber(found.log_loss) ? found.log_loss.toFixed(3) : null, "Mean cross entropy in nats; smaller is better"],
    ["calibration error", isNumber(found.calibration_error) ? percent(found.calibration_error) : null, "How far scores and shares of right answers are apart on average"],
    ["when sure", found.sure ? `${percent(found.sure.accuracy)} of ${count(found.sure.images)}` : null, "Accuracy of the best label on the photographs that reach its threshold"],
    ["mistakes", count(wrong(found)), data.isMultiLabel ? "Photographs with any label wrong" : "Photographs with another label than their own"],
  ].filter(([, value]) => value !== null);
  body("summary").replaceChildren(
    element("div", { class: "card summary" }, hero, element("dl", { class: "tiles" }, ...tiles.map((each) => tile(...each)))),
    portions(),
    ...[promised()].filter(Boolean),
  );
}

function promised() {
  const { promise } = data;
  if (!promise) return null;
  const target = `A precision of ${percent(promise.target)}`;
  if (isNumber(promise.threshold)) {
    const shown = `Of ${plural(promise.judged, "photograph")}, each judged by a model that had not seen it, ${count(promise.sure)} (${percent(promise.coverage)}) reach it and ${count(promise.right)} of these are right`;
    return note(`${target} is promised for labels with a score of at least ${promise.threshold}; the others are unsure. ${shown}: at least ${percent(promise.bound)} at ${percent(promise.confidence)} confidence. "When sure" says what this split shows.`);
  }
  const isFew = isNumber(promise.needed) && promise.judged < promise.needed;
  const few = `there are too few photographs: ${count(promise.needed)} without a mistake are needed, ${count(promise.judged)} are here`;
  const most = `at best ${percent(promise.bound)} can be promised (${count(promise.right)} of ${count(promise.sure)} right)`;
  return note(`${target} cannot be promised, so every label is unsure: ${isFew ? few : most}.`);
}

const wrong = (found) => Math.round(found.images * (1 - found.accuracy));

function portions() {
  const kinds = [["training", "training"], ["validation", "validation"], ["testing", "test"], ["left_out", "copies left out"], ["quarantined", "unreadable"]];
  const present = kinds.filter(([name]) => data.counts[name]);
  const bar = element("div", { class: "portions", "aria-hidden": "true" });
  bar.append(...present.map(([name]) => element("span", { class: name, "--part": data.counts[name] })));
  const keys = present.map(([name, text]) => element("li", { class: name }, element("b", { text: count(data.counts[name]) }), ` ${text}`));
  return element("div", { class: "used" }, bar, element("ul", { class: "keys" }, ...keys));
}

const order = { key: "f1", isDown: false };
const LABEL_COLUMNS = [["label", "Label"], ["support", "Count"], ["precision", "Precision"], ["recall", "Recall"], ["f1", "F1"], ["average_precision", "Average precision"], ["threshold", "Threshold"]];

const OPTIONAL = ["average_precision", "threshold"];
// A promise has one threshold for all labels.
const hasColumn = (name, rows) => !OPTIONAL.includes(name) || (rows.some((row) => isNumber(row[name])) && !(name === "threshold" && data.promise));

function drawLabels() {
  const all = figures().per_label;
  show("labels", all.length > 0);
  const rows = all.filter((row) => passesFilter(row.label.toLowerCase()));
  const { key, isDown } = order;
  // Undefined figures come last in either direction.
  const compare = (a, b) => (key === "label" ? a.label.localeCompare(b.label) : a[key] - b[key]) * (isDown ? -1 : 1);
  rows.sort((a, b) => (a[key] === null) - (b[key] === null) || compare(a, b));
  const columns = LABEL_COLUMNS.filter(([name]) => hasColumn(name, all));
  const heads = columns.map(([name, text]) => {
    const sorted = key === name ? (isDown ? "descending" : "ascending") : null;
    const sort = element("button", { type: "button", text, onclick: () => sortLabels(name) });
    return element("th", { scope: "col", "aria-sort": sorted }, sort);
  });
  const lines = rows.map((row) => element("tr", {}, ...columns.map(([name]) => labelCell(row, name))));
  const table = element("table", { class: "labels" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
  const threshold = columns.some(([name]) => name === "threshold") ? " Threshold: the score from which the wanted precision is reached; below it the label is unsure." : "";
  const average = columns.some(([name]) => name === "average_precision") ? " Average precision: how well its photographs come first when all are ranked by its score." : "";
  const about = note(`Precision: how many photographs given this label really have it. Recall: how many that have it were found.${average}${threshold}`);
  const shown = rows.length || !all.length ? element("div", { class: "scroll" }, table) : note("No label matches the filter.");
  body("labels").replaceChildren(shown, about);
}

function labelCell(row, name) {
  const value = row[name];
  if (name === "label") {
    if (data.isMultiLabel) return element("th", { scope: "row", text: value });
    const index = data.labels.indexOf(value);
    return element("th", { scope: "row" }, element("button", { type: "button", class: "text", text: value, title: "Show its photographs", onclick: () => openCell(index, index) }));
  }
  if (name === "support") return element("td", { text: count(value) });
  return element("td", {}, meter(value));
}

function sortLabels(name) {
  Object.assign(order, { key: name, isDown: order.key === name ? !order.isDown : name === "support" });
  drawLabels();
  document.querySelector("#labels [aria-sort] button").focus();
}

function plain(value) {
  if (isNumber(value)) return String(Number(value.toPrecision(4)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function definitions(title, values) {
  const rows = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const terms = rows.flatMap(([name, value]) => [element("dt", { text: name.replaceAll("_", " ") }), element("dd", { text: plain(value) })]);
  return element("div", { class: "card" }, element("h3", { text: title }), element("dl", {}, ...terms));
}

function drawDetails() {
  const whole = (Date.parse(data.created) - Date.parse(data.planned)) / 1000;
  const seconds = Object.entries({ "from plan to model": whole, ...data.seconds }).filter(([, value]) => isNumber(value));
  const timings = Object.fromEntries(seconds.map(([name, value]) => [name, `${value.toFixed(value < 10 ? 2 : 0)} s`]));
  const settings = { folder: data.root, ...data.settings, temperature: data.temperature.toFixed(3) };
  const counts = Object.fromEntries(Object.entries(data.counts).map(([name, value]) => [name, count(value)]));
  body("details").replaceChildren(
    element("div", { class: "columns" }, definitions("Settings", settings), definitions("Timings", timings), definitions("Images", counts), definitions("Versions", data.versions)),
  );
}

function drawUse() {
  const commands = [
    [`poets classify-dir DIR --model ${data.run}`, "one row for each photograph below DIR, in labels.csv"],
    [`poets classify photo.jpg --model ${data.run}`, "the best labels of one photograph"],
    [`poets show ${data.run}`, "this run in a few lines"],
  ];
  body("use").replaceChildren(
    element("dl", { class: "card commands" }, ...commands.flatMap(([command, text]) => [element("dt", {}, element("code", { text: command })), element("dd", { text })])),
  );
}

function drawUnreadable() {
  show("unreadable", data.unreadable.length > 0);
  const rows = data.unreadable.map(([path, reason]) => element("tr", {}, element("th", { scope: "row" }, element("code", { text: path })), element("td", { text: reason })));
  const total = data.counts.quarantined ?? rows.length;
  const rest = total > rows.length ? note(`The first ${count(rows.length)} of ${count(total)}; quarantine.csv has all.`) : null;
  body("unreadable").replaceChildren(element("div", { class: "scroll" }, element("table", { class: "plain" }, element("tbody", {}, ...rows))), rest ?? "");
}
