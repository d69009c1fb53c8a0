// The evidence over the head in three dimensions. NiiVue draws it; it is loaded when
// somebody asks for it, and gets the voxels that the viewer has fetched already.

// More than a phone's graphics memory takes are thinned out.
const MOST_VOXELS = 8e6;
const HEADER_BYTES = 352;
// How far a drag across the whole picture turns the head.
const DRAG_DEGREES = 270;
// Depths of NiiVue's clip plane: it cuts nothing away, it touches the head.
const NO_CUT = 2;
const FIRST_CUT = 0.5;
// How much of the picture the head fills, against what NiiVue takes.
const SCALE = 1.25;

export function offerVolume(root, facts, source, state) {
  const button = root.querySelector("#volume-show");
  const said = root.querySelector("#volume-said");
  button.disabled = false;
  button.addEventListener("click", async () => {
    if (!document.createElement("canvas").getContext("webgl2")) {
      button.disabled = true;
      said.textContent =
        "This browser cannot draw in three dimensions: WebGL 2 is missing or switched " +
        "off. The slices above show the same evidence.";
      return;
    }
    button.disabled = true;
    said.textContent = "Loading the 3-D view …";
    const view = new VolumeView(root, facts, source, state);
    try {
      await view.open();
      button.remove();
      view.turn.focus();
    } catch {
      view.frame.hidden = true;
      button.disabled = false;
      said.textContent = "The 3-D view could not be loaded. Is TumorLens still running?";
    }
  });
}

class VolumeView {
  constructor(root, facts, source, state) {
    this.facts = facts;
    this.source = source;
    this.state = state;
    this.said = root.querySelector("#volume-said");
    this.frame = root.querySelector(".volume");
    this.canvas = root.querySelector("canvas");
    [this.turn, this.tilt, this.cut, this.least] = ["turn", "tilt", "cut", "least"].map((name) =>
      root.querySelector(`#volume-${name}`),
    );
    this.looks = root.querySelectorAll("[data-turn]");
    this.amounts = new Amounts(facts, source.evidence);
    this.steps = [];
  }

  async open() {
    const { Niivue, NVImage } = await import("../niivue/niivue.js");
    this.frame.hidden = false;
    this.niivue = new Niivue({
      // Its own mouse, wheel and keys would take the page's away.
      interactive: false,
      dragAndDropEnabled: false,
      isOrientationTextVisible: false,
      loadingText: "",
      logLevel: "silent",
      clipPlaneColor: [0, 0, 0, 0],
    });
    // Here are no letters and no meshes: their pictures are left out of the bundle, and
    // their shaders need not be made.
    this.niivue.meshShaders = [];
    this.niivue.loadDefaultFont = async () => {};
    this.niivue.loadDefaultMatCap = async () => null;
    await this.niivue.attachToCanvas(this.canvas);
    this.niivue.setSliceType(this.niivue.sliceTypeRender);
    this.niivue.setScale(SCALE);
    const { head, evidence } = niftiPair(this.facts, this.source, this.state);
    const range = { cal_min: 0, cal_max: 255 };
    this.niivue.addVolume(
      await NVImage.loadFromUrl({ url: head, name: "head.nii", colormap: "gray", ...range }),
    );
    this.overlay = await NVImage.loadFromUrl({ url: evidence, name: "evidence.nii", ...range });
    this.niivue.addVolume(this.overlay);
    this.steer();
    this.showEvidence();
    this.look();
  }

  steer() {
    for (const slider of [this.turn, this.tilt, this.cut]) {
      slider.addEventListener("input", () => this.look());
    }
    this.least.addEventListener("input", () => this.showEvidence());
    for (const button of this.looks) {
      button.addEventListener("click", () => {
        this.turn.value = button.dataset.turn;
        this.tilt.value = button.dataset.tilt;
        this.look();
      });
    }
    this.canvas.addEventListener("pointerdown", (down) => {
      if (down.button === 0) this.canvas.setPointerCapture(down.pointerId);
    });
    this.canvas.addEventListener("pointermove", (move) => {
      if (!this.canvas.hasPointerCapture(move.pointerId)) return;
      const degrees = DRAG_DEGREES / this.canvas.clientWidth;
      // Round and round, while a slider has two ends.
      const turned = Number(this.turn.value) - move.movementX * degrees;
      this.turn.value = ((((turned + 180) % 360) + 360) % 360) - 180;
      this.tilt.value = Number(this.tilt.value) + move.movementY * degrees;
      this.look();
    });
  }

  // From where the head is seen, and how much of its near side is cut away.
  look() {
    const [turn, tilt, cut] = [this.turn, this.tilt, this.cut].map((one) => Number(one.value));
    tell(this.turn, `${Math.round(turn)}°`);
    tell(this.tilt, `${Math.round(tilt)}°`);
    tell(this.cut, `${cut} %`);
    for (const button of this.looks) {
      const same =
        Number(button.dataset.turn) === turn && Number(button.dataset.tilt) === tilt;
      button.setAttribute("aria-pressed", same);
    }
    this.draw(() => {
      const depth = cut === 0 ? NO_CUT : FIRST_CUT * (1 - cut / 50);
      this.niivue.setClipPlane([depth, turn + 180, tilt]);
      this.niivue.setRenderAzimuthElevation(turn + 180, tilt);
    });
  }

  // Hide the evidence below the slider's value, and say how much is left.
  showEvidence() {
    const percent = Number(this.least.value);
    tell(this.least, `${percent} %`);
    this.said.textContent = this.amounts.sentence(percent);
    this.draw(() => {
      const { colors } = this.facts;
      const levels = Array.from({ length: 256 }, (_, level) => level);
      this.niivue.addColormap("evidence", {
        R: levels.map((level) => colors[3 * level]),
        G: levels.map((level) => colors[3 * level + 1]),
        B: levels.map((level) => colors[3 * level + 2]),
        A: levels.map((level) => (level >= levelOf(percent) ? 255 : 0)),
        I: levels,
      });
      this.niivue.setColormap(this.overlay.id, "evidence");
    });
  }

  // Once a frame, however often a slider moves.
  draw(step) {
    this.steps.push(step);
    if (this.steps.length > 1) return;
    requestAnimationFrame(() => {
      const steps = this.steps;
      this.steps = [];
      for (const one of steps) one();
      this.frame.dataset.drawn = Number(this.frame.dataset.drawn ?? 0) + 1;
    });
  }
}

function tell(slider, text) {
  slider.setAttribute("aria-valuetext", text);
  document.querySelector(`#${slider.id}-value`).textContent = text;
}

// The stored number, 1 to 255, from which evidence counts as a percentage or more.
function levelOf(percent) {
  return Math.max(1, Math.ceil((percent / 100) * 255));
}

// How much of a head has how much evidence, and in which slices.
class Amounts {
  constructor({ shape, affine }, evidence) {
    this.voxels = new Float64Array(257);
    this.most = new Uint8Array(shape[0]);
    const size = shape[1] * shape[2];
    for (let slice = 0; slice < shape[0]; slice += 1) {
      for (let at = slice * size; at < (slice + 1) * size; at += 1) {
        const level = evidence[at];
        this.voxels[level] += 1;
        if (level > this.most[slice]) this.most[slice] = level;
      }
    }
    for (let level = 255; level > 0; level -= 1) this.voxels[level] += this.voxels[level + 1];
    const [[a, b, c], [d, e, f], [g, h, i]] = affine;
    const mm3 = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    this.cm3 = Math.abs(mm3) / 1000;
  }

  sentence(percent) {
    const level = levelOf(percent);
    if (this.voxels[level] === 0) {
      const most = Math.floor((100 * Math.max(...this.most)) / 255);
      return `No spot has evidence of ${percent} % or more; the strongest has ${most} %.`;
    }
    const slices = [...this.most.keys()].filter((slice) => this.most[slice] >= level);
    const [first, last] = [slices[0] + 1, slices.at(-1) + 1];
    const where = first === last ? `slice ${first}` : `slices ${first} to ${last}`;
    const cm3 = this.voxels[level] * this.cm3;
    const size = cm3 < 0.1 ? "less than 0.1" : cm3.toFixed(1);
    return `Evidence of ${percent} % or more: ${size} cm³, in ${where}.`;
  }
}

// The series and its evidence as NIfTI files in memory, thinned out where they are large.
function niftiPair(facts, { voxels, evidence }, { low, high }) {
  const [slices, rows, columns] = facts.shape;
  // [column, row, slice]: every which voxel is taken.
  const steps = [1, 1, 1];
  const sizes = () => [columns, rows, slices].map((size, axis) => Math.ceil(size / steps[axis]));
  const sides = [0, 1, 2].map((axis) => Math.hypot(...facts.affine.map((row) => row[axis])));
  while (sizes().reduce((product, size) => product * size) > MOST_VOXELS) {
    const lengths = sides.map((side, axis) => side * steps[axis]);
    steps[lengths.indexOf(Math.min(...lengths))] += 1;
  }
  const dims = sizes();
  const head = niftiFile(dims, steps, facts.affine);
  const spots = niftiFile(dims, steps, facts.affine);
  const scale = 255 / Math.max(1e-6, high - low);
  let to = HEADER_BYTES;
  for (let slice = 0; slice < slices; slice += steps[2]) {
    for (let row = 0; row < rows; row += steps[1]) {
      const start = (slice * rows + row) * columns;
      for (let column = 0; column < columns; column += steps[0]) {
        const from = start + column;
        head[to] = Math.min(255, Math.max(0, (voxels[from] - low) * scale));
        spots[to] = evidence[from];
        to += 1;
      }
    }
  }
  return { head: head.buffer, evidence: spots.buffer };
}

// A NIfTI-1 file of uint8 without its voxels; `affine` leads to LPS mm, the file's to RAS.
function niftiFile(dims, steps, affine) {
  const bytes = new Uint8Array(HEADER_BYTES + dims[0] * dims[1] * dims[2]);
  const header = new DataView(bytes.buffer);
  header.setInt32(0, 348, true);
  [3, ...dims, 1, 1, 1, 1].forEach((size, at) => header.setInt16(40 + 2 * at, size, true));
  header.setInt16(70, 2, true);
  header.setInt16(72, 8, true);
  const sides = [0, 1, 2].map((axis) => steps[axis] * Math.hypot(...affine.map((row) => row[axis])));
  [1, ...sides].forEach((side, at) => header.setFloat32(76 + 4 * at, side, true));
  header.setFloat32(108, HEADER_BYTES, true);
  header.setFloat32(112, 1, true);
  header.setUint8(123, 2);
  header.setInt16(254, 1, true);
  affine.forEach((row, at) => {
    const sign = at < 2 ? -1 : 1;
    row.forEach((value, axis) => {
      header.setFloat32(280 + 16 * at + 4 * axis, sign * value * (steps[axis] ?? 1), true);
    });
  });
  [0x6e, 0x2b, 0x31].forEach((letter, at) => header.setUint8(344 + at, letter));
  return bytes;
}
