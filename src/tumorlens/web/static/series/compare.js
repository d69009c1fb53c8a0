// Two series side by side. Scrolling one takes the other along: to the same place in
// the patient where both state it, else to the same share of the series.

import { View, fetchBlock } from "./block.js";
import { greyTable } from "./paint.js";
import { Pane } from "./pane.js";
import { steer } from "./pointer.js";
import { State } from "./state.js";

// Which coordinate of the patient changes from slice to slice of a plane.
const AXES = { sagittal: 0, coronal: 1, axial: 2 };

class Side {
  constructor(root) {
    this.facts = JSON.parse(root.dataset.series);
    this.root = root;
    this.state = new State(this.facts);
    this.views = this.facts.views.map((view) => new View(this.facts.shape, view, this.facts.places));
    this.source = {
      voxels: null,
      evidence: null,
      greys: null,
      colors: new Uint8Array(this.facts.colors),
      describe: (view, slice) => `Slice ${slice + 1} of ${view.count}`,
    };
    this.state.evidence = true;
    this.state.tool = "scroll";
    this.panes = this.views.map(
      (view, at) => new Pane(root.querySelector(`[data-view="${at}"]`), view, this.state, this.source),
    );
    const [least, most] = this.facts.range;
    this.full = Math.max(1, most - least);
    let tabled = "";
    this.state.listen(() => {
      const wanted = `${this.state.low} ${this.state.high}`;
      if (wanted !== tabled) {
        this.source.greys = greyTable(this.state.low, this.state.high);
        tabled = wanted;
      }
      for (const pane of this.panes) pane.draw();
    });
    for (const pane of this.panes) {
      steer(pane, this.state, { setWindow: (...drag) => this.setWindow(...drag), addRuler() {} });
    }
  }

  // To the right wider, downwards darker, as in the viewer.
  setWindow({ low, high }, dx, dy, size) {
    const scale = this.full / Math.max(200, size);
    const width = Math.max(this.full / 1024, high - low + dx * scale);
    const middle = (low + high) / 2 + dy * scale;
    this.state.low = middle - width / 2;
    this.state.high = middle + width / 2;
    this.state.changed();
  }

  show(plane) {
    const at = this.views.findIndex((view) => view.plane === plane);
    this.shown = Math.max(0, at);
    this.root.querySelector(".panes").dataset.layout = String(this.shown);
    for (const pane of this.panes) pane.fit();
  }

  get view() {
    return this.views[this.shown];
  }

  get slice() {
    return this.view.fromBlock(this.state.position)[0];
  }

  // Where a slice lies along the patient's axis, in mm, through the picture's middle.
  place(slice) {
    const { view } = this;
    const [depth, row, column] = view.toBlock([slice, view.rows / 2, view.columns / 2]);
    const [x, y, z, origin] = this.facts.affine[AXES[view.plane]];
    return x * column + y * row + z * depth + origin;
  }

  nearest(place) {
    let best = 0;
    for (let slice = 1; slice < this.view.count; slice += 1) {
      if (Math.abs(this.place(slice) - place) < Math.abs(this.place(best) - place)) best = slice;
    }
    return best;
  }

  async load() {
    const said = this.root.querySelector(".pane-state");
    try {
      this.source.voxels = await fetchBlock(this.facts.voxels, Uint16Array);
      said.textContent = "";
      for (const pane of this.panes) pane.fit();
      if (this.facts.evidence) {
        this.source.evidence = await fetchBlock(this.facts.evidence, Uint8Array);
      }
      this.state.changed();
      this.root.dataset.ready = "true";
    } catch {
      said.textContent = "The pictures could not be fetched. Is TumorLens still running?";
    }
  }
}

const sides = [...document.querySelectorAll(".compared")].map((root) => new Side(root));
const link = document.querySelector("#link");
const how = document.querySelector("#link-how");
const evidence = document.querySelector("#evidence");

function byPlace() {
  const [one, other] = sides;
  return (
    document.querySelector("#compare").dataset.together === "true" &&
    one.facts.affine !== null &&
    other.facts.affine !== null &&
    one.view.plane === other.view.plane &&
    one.view.plane in AXES
  );
}

// How far apart they are while linked, in slices: kept from when they were linked.
const shift = [0, 0];

function follow(leader, follower) {
  if (byPlace()) return follower.nearest(leader.place(leader.slice));
  const share = leader.view.count > 1 ? leader.slice / (leader.view.count - 1) : 0;
  return Math.round(share * (follower.view.count - 1)) + shift[sides.indexOf(follower)];
}

const last = [-1, -1];
sides.forEach((side, at) => {
  side.state.listen(() => {
    const { slice } = side;
    if (slice === last[at]) return;
    last[at] = slice;
    if (!link.checked) return;
    const other = sides[1 - at];
    const wanted = Math.min(other.view.count - 1, Math.max(0, follow(side, other)));
    // It is told of this in turn, and must not lead back.
    last[1 - at] = wanted;
    other.state.goTo(other.view, wanted);
  });
});

function tell() {
  how.textContent = byPlace() ? "by the place in the patient" : "by the share of the series";
}

link.addEventListener("change", () => {
  if (!link.checked || byPlace()) return;
  const [one, other] = sides;
  shift.fill(0);
  shift[1] = other.slice - follow(one, other);
  shift[0] = one.slice - follow(other, one);
});

function showPlane(plane) {
  for (const side of sides) side.show(plane);
  tell();
  last.fill(-1);
  for (const side of sides) side.state.changed();
}
for (const choice of document.querySelectorAll("input[name=plane]")) {
  choice.addEventListener("change", () => showPlane(choice.value));
}
evidence.addEventListener("change", () => {
  for (const side of sides) {
    side.state.evidence = evidence.checked;
    side.state.changed();
  }
});

document.documentElement.classList.add("scripted");
const first = document.querySelector("input[name=plane]:checked");
showPlane(first ? first.value : null);
await Promise.all(sides.map((side) => side.load()));
