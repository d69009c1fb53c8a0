// The viewer of a scan: puts its parts together and fetches the pictures.

import { View, fetchBlock } from "./block.js";
import { steerCurve } from "./curve.js";
import { showFilm } from "./film.js";
import { ZOOM_STEP } from "./keys.js";
import { greyTable } from "./paint.js";
import { Pane } from "./pane.js";
import { steer } from "./pointer.js";
import { RulerList } from "./ruler.js";
import { showChosen } from "./series_row.js";
import { State } from "./state.js";
import { offerVolume } from "./volume.js";
import { WindowControls } from "./window.js";

const facts = JSON.parse(document.querySelector("#viewer").dataset.scan);
const panesRoot = document.querySelector("#panes");
const said = document.querySelector("#viewer-state");
const state = new State(facts);
const views = facts.views.map((view) => new View(facts.shape, view, facts.places));
const [own] = views;

// As the page's sentences write it: never 0 or 100 unless it is exact.
function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function describe(view, slice) {
  const start = `Slice ${slice + 1} of ${view.count}`;
  // A model of volumes says nothing of single slices.
  if (view !== own || facts.whole) return start;
  const p = facts.p_tumor[slice];
  return p === null
    ? `${start}: not judged`
    : `${start}: probability of tumour ${percent(p)}`;
}

const source = {
  voxels: null,
  evidence: null,
  greys: null,
  colors: new Uint8Array(facts.colors),
  describe,
};
const panes = views.map(
  (view, at) =>
    new Pane(document.querySelector(`.pane[data-view="${at}"]`), view, state, source),
);

// The table of greys is made anew only where the window changed.
let tabled = "";
state.listen(() => {
  const wanted = `${state.low} ${state.high}`;
  if (wanted !== tabled) {
    source.greys = greyTable(state.low, state.high);
    tabled = wanted;
  }
  for (const pane of panes) pane.draw();
});

const windowing = new WindowControls(facts, state);
steerCurve(own, state, describe);

function setLayout(layout) {
  state.layout = layout;
  panesRoot.dataset.layout = layout;
  state.changed();
}

function chooseLayout(layout) {
  const choice = document.querySelector(`input[name=layout][value="${layout}"]`);
  if (choice) choice.checked = true;
  setLayout(layout);
}

const rulers = new RulerList(
  document.querySelector("#rulers"),
  document.querySelector("#ruler-none"),
  state,
  (ruler) => {
    if (state.layout !== "all") chooseLayout(String(views.indexOf(ruler.view)));
    state.goTo(ruler.view, ruler.slice);
  },
);
for (const pane of panes) {
  steer(pane, state, {
    setWindow: (...drag) => windowing.drag(...drag),
    addRuler: (ruler) => rulers.add(ruler),
  });
}

for (const choice of document.querySelectorAll("input[name=layout]")) {
  choice.addEventListener("change", () => setLayout(choice.value));
  // The browser may have kept it from an earlier visit.
  if (choice.checked) setLayout(choice.value);
}
function setTool(tool) {
  state.tool = tool;
  panesRoot.dataset.tool = tool;
  state.changed();
}
for (const choice of document.querySelectorAll("input[name=tool]")) {
  choice.addEventListener("change", () => setTool(choice.value));
  if (choice.checked) setTool(choice.value);
}

const zoomed = document.querySelector("#zoom-value");
function onShown(act) {
  for (const pane of panes.filter((one) => one.shown)) act(pane);
}
document.querySelector("#zoom-in").addEventListener("click", () => {
  onShown((pane) => pane.zoomBy(ZOOM_STEP));
});
document.querySelector("#zoom-out").addEventListener("click", () => {
  onShown((pane) => pane.zoomBy(1 / ZOOM_STEP));
});
document.querySelector("#zoom-reset").addEventListener("click", () => {
  onShown((pane) => pane.resetZoom());
});
state.listen(() => {
  const most = Math.max(1, ...panes.filter((one) => one.shown).map((one) => one.lens.zoom));
  const text = `${Math.round(100 * most)} %`;
  if (zoomed.textContent !== text) zoomed.textContent = text;
});

const shown = document.querySelector("#evidence");
if (shown) {
  const opacity = document.querySelector("#opacity");
  const setOverlay = () => {
    state.evidence = shown.checked;
    state.opacity = opacity.value / 100;
    opacity.disabled = !shown.checked;
    const percent = `${opacity.value} %`;
    opacity.setAttribute("aria-valuetext", percent);
    document.querySelector("#opacity-value").textContent = percent;
    state.changed();
  };
  shown.addEventListener("change", setOverlay);
  opacity.addEventListener("input", setOverlay);
  setOverlay();
}

document.documentElement.classList.add("scripted");
showChosen();

try {
  source.voxels = await fetchBlock(facts.voxels, Uint16Array);
  said.textContent = "";
  state.moveTo(state.position);
  showFilm(document.querySelector("#film"), own, state, source);
  for (const pane of panes) pane.fit();
  if (facts.evidence) source.evidence = await fetchBlock(facts.evidence, Uint8Array);
  const offered = document.querySelector("#volume-show");
  if (offered && source.evidence) {
    offerVolume(document.querySelector("#volume"), facts, source, state);
  }
  state.changed();
  panesRoot.dataset.ready = "true";
} catch {
  said.textContent = "The pictures could not be fetched. Is TumorLens still running?";
}
