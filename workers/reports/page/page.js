// Draws all parts of the page, and again when the split or the filter changes.

const GALLERIES = {
  mistakes: {
    items: () => data.mistakes[state.split].map((number) => scored(photographs[number])),
    about: () => `Wrong, and sure of it: the highest scores first.${data.isMultiLabel ? " The score is that of all predicted labels together." : ""}`,
    whenNone: () => `No ${held()} got a wrong label.`,
  },
  uncertain: {
    items: () => data.uncertain[state.split].map((number) => doubtful(photographs[number])),
    about: () => `The best ${data.isMultiLabel ? "set of labels" : "label"} hardly leads the second. Photographs like these teach the model most.`,
    whenNone: () => "",
    isAbsent: () => !data.uncertain[state.split].length,
  },
  suspects: {
    items: () => data.suspects.map(suspect),
    about: () => "From all splits: the model doubts that they have the right label. No photograph is moved: the run is trained again with the corrected labels, in seconds.",
    whenNone: () => "No label looks wrong.",
    // With several labels an image, only copies that contradict each other are listed.
    isAbsent: () => data.isMultiLabel && !data.suspects.length,
  },
  duplicates: {
    items: () => data.duplicates.map(pair),
    about: () => "Nearly the same photograph twice. With two labels, one of them is wrong; in two splits, the figures look better than they are.",
    whenNone: () => "No exact copies were found; near-copies were not searched for.",
    isAbsent: () => data.isSearched && !data.duplicates.length,
  },
};

function drawGallery(id) {
  const { items, about, whenNone, isAbsent } = GALLERIES[id];
  show(id, !isAbsent?.());
  const all = items();
  const pictures = element("div");
  gallery(pictures, all, whenNone());
  const bar = id === "suspects" && all.length ? element("p", { id: "corrections" }) : "";
  body(id).replaceChildren(all.length ? note(about()) : "", bar, pictures);
  if (bar) drawCorrections();
}

function drawFound() {
  section("found").hidden = !state.filter;
  const listed = photographs.filter((photograph) => photograph.split === state.split);
  const target = element("div");
  const found = state.filter ? gallery(target, listed.map(scored), "") : listed.length;
  body("found").replaceChildren(target);
  const total = figures().images;
  const left = listed.length < total ? ` (of ${count(total)}, this page lists the most telling ${count(listed.length)})` : "";
  section("status").textContent = state.filter
    ? `${plural(found, held())} ${found === 1 ? "matches" : "match"} “${state.filter}”${left}`
    : "";
}

function dimMatrix() {
  const hits = data.labels.map((label) => passesFilter(label.toLowerCase()));
  const isOn = state.filter && hits.some(Boolean);
  const table = document.querySelector(".matrix");
  table?.classList.toggle("filtered", Boolean(isOn));
  for (const row of table?.tBodies[0].rows ?? []) {
    row.classList.toggle("kept", hits[row.rowIndex - 1]);
    [...row.cells].slice(1).forEach((cell, column) => cell.classList.toggle("kept", hits[column]));
  }
  if (isOn) reveal(table.tBodies[0].rows[hits.indexOf(true)].cells[hits.indexOf(true) + 1]);
}

function drawFiltered() {
  drawFound();
  Object.keys(GALLERIES).forEach(drawGallery);
  drawLabels();
  if (section("confusion").hidden) return;
  drawPairs();
  drawCell();
  dimMatrix();
}

function drawSplit() {
  const hasConfusion = Boolean(figures().images && figures().confusion);
  drawSummary();
  show("confusion", hasConfusion);
  if (hasConfusion) drawMatrix();
  drawCurves();
  drawFiltered();
}

function start() {
  const titled = [...document.querySelectorAll("section[data-title]")];
  section("sections").append(
    ...titled.map(({ id, dataset }) => element("li", {}, element("a", { href: `#${id}`, text: dataset.title }))),
  );
  drawFacts();
  drawDetails();
  drawUse();
  drawUnreadable();
  if (!data.splits.test.images && data.splits.validation.images) state.split = "validation";
  for (const choice of document.querySelectorAll("input[name=split]")) {
    choice.checked = choice.value === state.split;
    choice.disabled = !data.splits[choice.value].images;
    choice.addEventListener("change", () => {
      state.split = choice.value;
      drawSplit();
    });
  }
  let waiting = 0;
  section("filter").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      state.filter = event.target.value.trim().toLowerCase();
      drawFiltered();
    }, 120);
  });
  drawSplit();
  const seen = new IntersectionObserver(
    (entries) => {
      const entry = entries.find(({ isIntersecting }) => isIntersecting);
      if (!entry) return;
      document.querySelectorAll("#sections a[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
      document.querySelector(`#sections a[href="#${entry.target.id}"]`)?.setAttribute("aria-current", "true");
    },
    { rootMargin: "-20% 0px -75% 0px" },
  );
  titled.forEach((each) => seen.observe(each));
}

start();
