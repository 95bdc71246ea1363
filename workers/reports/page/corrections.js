// Ticks on photographs that are filed under the wrong label, and the file that `poets relabel` reads.

const corrections = new Map(); // path: the right label, as poets writes it

// A tick, and in the viewer a choice of the label; all that show one photograph agree.
function correction(item, isChosenHere = false) {
  const { photograph, suggestion } = item;
  const box = element("input", { type: "checkbox" });
  const choice = element("select", { "aria-label": "Right label" });
  const isChoice = isChosenHere && !data.isMultiLabel;
  if (isChoice) choice.append(...data.labels.map((text) => element("option", { text, value: text })));
  const chosen = () => (isChoice ? choice.value : (corrections.get(photograph.path) ?? suggestion.label));
  const made = element("label", { class: "fix" }, box, isChoice ? element("span", { text: "Right label:" }) : element("span", {}), isChoice ? choice : null);
  made.show = () => {
    const label = corrections.get(photograph.path);
    box.checked = label !== undefined;
    if (isChoice) choice.value = label ?? suggestion.label;
    else made.children[1].textContent = `it is ${named(label ?? suggestion.label)}`;
  };
  const change = () => {
    if (box.checked) corrections.set(photograph.path, chosen());
    else corrections.delete(photograph.path);
    document.querySelectorAll(".fix").forEach((other) => other.show());
    drawCorrections();
  };
  box.addEventListener("change", change);
  choice.addEventListener("change", () => {
    box.checked = true;
    change();
  });
  made.show();
  return made;
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

function correctionsFile() {
  const labels = new Map(data.suspects.map((row) => [data.photographs[row.photograph][0], data.photographs[row.photograph][2]]));
  const plain = (label) => (data.isMultiLabel ? JSON.parse(label).join(";") : label);
  const rows = [...corrections].map(([path, label]) => [path, plain(label), plain(labels.get(path))]);
  const lines = [["path", "label", "was"], ...rows].map((cells) => cells.map(quoted).join(","));
  // With a byte order mark, or a spreadsheet takes it for another encoding.
  return `\ufeff${lines.join("\r\n")}\r\n`;
}

function download() {
  const link = URL.createObjectURL(new Blob([correctionsFile()], { type: "text/csv" }));
  element("a", { href: link, download: "corrections.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(link), 60_000);
}

function drawCorrections() {
  const target = section("corrections");
  if (!target) return;
  const number = corrections.size;
  const save = element("button", { type: "button", class: "save", disabled: !number, text: "Download corrections.csv", onclick: download });
  const how = number
    ? [`${plural(number, "label")} to correct. Then, where the file is: `, element("code", { text: `poets relabel ${data.run} corrections.csv` })]
    : ["Tick what is filed under the wrong label; enlarged, it may get any label."];
  target.replaceChildren(save, element("span", { role: "status" }, ...how));
}
