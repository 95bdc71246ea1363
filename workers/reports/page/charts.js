// Line and calibration charts as SVG, with labelled axes.

const CHART = { width: 440, height: 300, left: 56, right: 14, top: 14, bottom: 46 };

// Returns a frame with two axes, and functions from their values to its coordinates.
function plane(title, x, y) {
  const { width, height, left, right, top, bottom } = CHART;
  const across = (value) => left + ((value - x.low) / (x.high - x.low || 1)) * (width - left - right);
  const up = (value) => height - bottom - ((value - y.low) / (y.high - y.low || 1)) * (height - top - bottom);
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const value of y.ticks) {
    svg.append(drawing("line", { class: "rule", x1: left, x2: width - right, y1: up(value), y2: up(value) }));
    svg.append(drawing("text", { x: left - 8, y: up(value) + 4, "text-anchor": "end", text: y.show(value) }));
  }
  for (const value of x.ticks) {
    svg.append(drawing("text", { x: across(value), y: height - bottom + 18, "text-anchor": "middle", text: x.show(value) }));
  }
  const middle = (top + height - bottom) / 2;
  svg.append(drawing("text", { class: "axis", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle", text: x.title }));
  svg.append(drawing("text", { class: "axis", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle", text: y.title }));
  return { svg, across, up };
}

function ticks(low, high, wanted = 5) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(value);
  return found;
}

function axis(title, low, high, wanted) {
  const found = ticks(low, high, wanted);
  const digits = found.length > 1 ? Math.max(0, -Math.floor(Math.log10(found[1] - found[0]) + 1e-9)) : 2;
  return { title, low, high, ticks: found, show: (value) => (high > 1500 ? count(Math.round(value)) : value.toFixed(digits)) };
}

function chart(title, explanation, svg, legend = []) {
  const keys = legend.map(([kind, text]) => element("span", { class: `key ${kind}`, text }));
  return element(
    "figure",
    { class: "chart" },
    element("h3", { text: title }),
    svg,
    keys.length ? element("p", { class: "keys" }, ...keys) : null,
    element("figcaption", { text: explanation }),
  );
}

// The 95 % score interval of a share, as in workers/heads/metrics.py.
function wilson(share, trials, z = 1.959964) {
  const middle = share + (z * z) / (2 * trials);
  const reach = z * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
  return [middle - reach, middle + reach].map((value) => value / (1 + (z * z) / trials));
}

function calibration() {
  const bins = figures().calibration_bins.filter((bin) => bin.count && isNumber(bin.accuracy));
  if (!bins.length) return null;
  const unit = (title) => axis(title, 0, 1);
  const { svg, across, up } = plane("Calibration: share that is right against score", unit(data.isMultiLabel ? "score of any label" : "score of the predicted label"), unit("share that is right"));
  const most = Math.max(...bins.map((bin) => bin.count));
  for (const bin of bins) {
    const high = (bin.count / most) * 0.22;
    const wide = across(bin.high) - across(bin.low) - 2;
    svg.append(drawing("rect", { class: "bar", x: across(bin.low) + 1, y: up(high), width: Math.max(wide, 1), height: up(0) - up(high) }));
  }
  svg.append(drawing("line", { class: "ideal", x1: across(0), y1: up(0), x2: across(1), y2: up(1) }));
  for (const bin of bins) {
    const [low, high] = wilson(bin.accuracy, bin.count);
    const x = across(bin.mean_score);
    const whole = plural(bin.count, data.isMultiLabel ? "score" : "photograph");
    const text = `score ${score(bin.mean_score)}: ${percent(bin.accuracy)} right of ${whole}, 95 % confidence ${percent(low)} to ${percent(high)}`;
    svg.append(drawing("line", { class: "spread", x1: x, x2: x, y1: up(low), y2: up(high) }));
    svg.append(drawing("text", { class: "tally", x, y: up((bin.count / most) * 0.22) - 4, "text-anchor": "middle", text: count(bin.count) }));
    const radius = 3 + 4 * Math.sqrt(bin.count / most);
    svg.append(drawing("circle", { class: "dot", cx: across(bin.mean_score), cy: up(bin.accuracy), r: radius }, drawing("title", { text })));
  }
  const error = figures().calibration_error;
  const what = data.isMultiLabel ? "labels of photographs" : "photographs";
  const gap = isNumber(error) ? ` On average they are ${percent(error)} apart.` : "";
  return chart(
    "Can the scores be believed?",
    `On the dashed line, 80 % of the ${what} with score 0.8 are right; below it, the scores promise too much. Upright lines: 95 % confidence; where one crosses the dashed line, the score can be believed. Numbers and bars: how many ${what}.${gap}`,
    svg,
  );
}

function curve(name, title, yTitle, explanation) {
  const steps = data.curve.step;
  const lines = [["first", "training", data.curve[`train_${name}`]], ["second", "validation", data.curve[`validation_${name}`]]];
  const values = lines.flatMap(([, , line]) => line ?? []).filter(isNumber);
  if (!steps || !values.length) return null;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.06 || 0.05;
  const ceiling = name === "accuracy" ? Math.min(1, high + room) : high + room;
  const y = axis(yTitle, Math.max(0, low - room), ceiling);
  const { svg, across, up } = plane(`${title}, by step`, axis("step", steps[0], steps.at(-1)), y);
  for (const [kind, , line] of lines) {
    const points = (line ?? []).map((value, i) => (isNumber(value) ? `${across(steps[i])},${up(value)}` : null)).filter(Boolean);
    svg.append(drawing("polyline", { class: `line ${kind}`, points: points.join(" ") }));
    if (points.length === 1) {
      const [cx, cy] = points[0].split(",");
      svg.append(drawing("circle", { class: `dot ${kind}`, cx, cy, r: 4 }));
    }
  }
  const last = lines.map(([kind, text, line]) => [kind, `${text} ${line?.findLast(isNumber)?.toFixed(3) ?? ""}`]);
  return chart(title, explanation, svg, last);
}

function drawCurves() {
  const shown = [
    calibration(),
    curve("accuracy", "Accuracy while learning", "accuracy", "Training far above validation: the head memorises its photographs."),
    curve("cross_entropy", "Cross entropy while learning", "cross entropy", "What the fit minimises."),
  ].filter(Boolean);
  show("curves", shown.length > 0);
  body("curves").replaceChildren(element("div", { class: "charts" }, ...shown));
}
