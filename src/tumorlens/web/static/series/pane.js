// One picture of the viewer: a slice of a view, its crosshair and its rulers.
// The slice, evidence included, is painted at its own size and scaled by the browser,
// which is cheap; lines and words lie on a second canvas as large as the pane, as
// fine as the screen.

import { Lens } from "./lens.js";
import { paintSlice } from "./paint.js";
import { drawRulers } from "./ruler.js";

const CROSSHAIR = "rgb(127 212 214 / 75%)";

export class Pane {
  constructor(root, view, state, source) {
    this.root = root;
    this.view = view;
    this.state = state;
    this.source = source;
    this.canvas = root.querySelector("canvas");
    this.canvas.width = view.columns;
    this.canvas.height = view.rows;
    this.paper = this.canvas.getContext("2d", { alpha: false });
    this.image = this.paper.createImageData(view.columns, view.rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.ink = root.querySelector(".ink");
    this.context = this.ink.getContext("2d");
    this.inked = false;
    this.lens = new Lens();
    this.counter = root.querySelector(".mark-slice");
    this.zoomMark = root.querySelector(".mark-zoom");
    this.pending = null;
    this.canvas.setAttribute("aria-valuemax", view.count);
    new ResizeObserver(() => this.fit()).observe(root);
  }

  get slice() {
    return this.view.fromBlock(this.state.position)[0];
  }

  get shown() {
    return this.root.clientWidth > 0;
  }

  // As large as the pane allows, in true proportions, sharp on dense screens.
  fit() {
    const { clientWidth, clientHeight } = this.root;
    if (!clientWidth || !clientHeight) return;
    const width = Math.min(clientWidth, clientHeight / this.view.aspect);
    const height = width * this.view.aspect;
    const density = window.devicePixelRatio || 1;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.ink.width = Math.max(1, Math.round(clientWidth * density));
    this.ink.height = Math.max(1, Math.round(clientHeight * density));
    this.lens.resize([clientWidth, clientHeight], [width, height]);
    this.settle();
    this.draw();
  }

  // Zoom about a pointer; about the middle where there is none.
  zoomBy(factor, pointer = null) {
    let spot = [0, 0];
    if (pointer) {
      const box = this.root.getBoundingClientRect();
      spot = [
        pointer.clientX - box.left - box.width / 2,
        pointer.clientY - box.top - box.height / 2,
      ];
    }
    this.lens.zoomBy(factor, spot);
    this.settle();
    this.state.changed();
  }

  panBy(dx, dy) {
    this.lens.moveBy([dx, dy]);
    this.settle();
    this.state.changed();
  }

  resetZoom() {
    this.lens.reset();
    this.settle();
    this.state.changed();
  }

  // Lay the picture where the lens has it.
  settle() {
    const { zoom, offset } = this.lens;
    const [x, y] = offset;
    this.canvas.style.transform = zoom === 1 ? "" : `translate(${x}px, ${y}px) scale(${zoom})`;
    this.zoomMark.textContent = zoom === 1 ? "" : `${zoom.toFixed(1)} ×`;
  }

  draw() {
    if (!this.source.voxels || !this.shown) return;
    const { state, view } = this;
    const [slice, row, column] = view.fromBlock(state.position);
    paintSlice(this.pixels, view, slice, {
      ...this.source,
      evidence: state.evidence ? this.source.evidence : null,
      opacity: state.opacity,
    });
    this.paper.putImageData(this.image, 0, 0);
    this.drawInk(slice, row, column);
    this.tell(slice);
  }

  drawInk(slice, row, column) {
    const { state, ink, context } = this;
    if (this.inked) context.clearRect(0, 0, ink.width, ink.height);
    const crossed = state.layout === "all" || state.tool === "measure";
    if (crossed) this.drawCrosshair(row, column);
    this.inked = drawRulers(this, slice) || crossed;
  }

  drawCrosshair(row, column) {
    const { ink, context } = this;
    const [x, y] = this.onInk([row, column]).map((at) => Math.round(at) + 0.5);
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, ink.height);
    context.moveTo(0, y);
    context.lineTo(ink.width, y);
    context.stroke();
  }

  tell(slice) {
    const count = `${slice + 1} / ${this.view.count}`;
    if (this.counter.textContent === count) return;
    this.counter.textContent = count;
    this.canvas.setAttribute("aria-valuenow", slice + 1);
    this.canvas.setAttribute("aria-valuetext", this.source.describe(this.view, slice));
  }

  // Row and column, with fractions, under a pointer.
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const { rows, columns } = this.view;
    const clamp = (value, size) => Math.min(size - 0.5, Math.max(-0.5, value));
    return [
      clamp(((event.clientY - box.top) / box.height) * rows - 0.5, rows),
      clamp(((event.clientX - box.left) / box.width) * columns - 0.5, columns),
    ];
  }

  // Where a row and column lie on the canvas of lines, in its pixels.
  onInk([row, column]) {
    const { ink, lens, view } = this;
    const [x, y] = lens.place([(column + 0.5) / view.columns, (row + 0.5) / view.rows]);
    return [(x / lens.pane[0]) * ink.width, (y / lens.pane[1]) * ink.height];
  }
}
