// One picture of the viewer: a slice of a view, its crosshair and its rulers.

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
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.counter = root.querySelector(".mark-slice");
    this.picture = new OffscreenCanvas(view.columns, view.rows);
    this.ink = this.picture.getContext("2d", { alpha: false });
    this.image = this.ink.createImageData(view.columns, view.rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pending = null;
    this.canvas.setAttribute("aria-valuemax", view.count);
    new ResizeObserver(() => this.fit()).observe(root);
  }

  get slice() {
    return this.view.fromBlock(this.state.position)[0];
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
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    this.draw();
  }

  draw() {
    if (!this.source.voxels || this.root.clientWidth === 0) return;
    const { state, view, canvas, context } = this;
    const [slice, row, column] = view.fromBlock(state.position);
    paintSlice(this.pixels, view, slice, {
      ...this.source,
      evidence: state.evidence ? this.source.evidence : null,
      opacity: state.opacity,
    });
    this.ink.putImageData(this.image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
    if (state.layout === "all" || state.tool === "measure") this.drawCrosshair(row, column);
    drawRulers(this, slice);
    this.tell(slice);
  }

  drawCrosshair(row, column) {
    const { canvas, context, view } = this;
    const x = Math.round(((column + 0.5) / view.columns) * canvas.width) + 0.5;
    const y = Math.round(((row + 0.5) / view.rows) * canvas.height) + 0.5;
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, canvas.height);
    context.moveTo(0, y);
    context.lineTo(canvas.width, y);
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

  // Where a row and column lie on the canvas, in its pixels.
  onCanvas([row, column]) {
    const { canvas, view } = this;
    return [
      ((column + 0.5) / view.columns) * canvas.width,
      ((row + 0.5) / view.rows) * canvas.height,
    ];
  }
}
