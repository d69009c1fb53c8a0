// Two fingers on a picture: apart or together zooms, along with each other pans.

export class Pinch {
  constructor(pane) {
    this.pane = pane;
    this.fingers = new Map();
    this.under = null;
  }

  // Tells whether two fingers lie on the picture now, and no other gesture counts.
  down(event) {
    if (event.pointerType !== "touch") return false;
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const { zoom, middle } = this.pane.lens;
    this.under = this.fingers.size === 2 ? { zoom, middle, ...this.spread() } : null;
    return this.fingers.size > 1;
  }

  move(event) {
    if (!this.fingers.has(event.pointerId)) return false;
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (!this.under) return false;
    const { zoom, middle, ...start } = this.under;
    const now = this.spread();
    // From the start each time: fingers move one by one, and what one of them pushed
    // against an edge would be lost for the other.
    Object.assign(this.pane.lens, { zoom, middle });
    this.pane.zoomBy(now.apart / start.apart, start);
    this.pane.panBy(now.clientX - start.clientX, now.clientY - start.clientY);
    return true;
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    this.under = null;
  }

  // The fingers' middle, and how far apart they are.
  spread() {
    const [[x0, y0], [x1, y1]] = this.fingers.values();
    return {
      clientX: (x0 + x1) / 2,
      clientY: (y0 + y1) / 2,
      apart: Math.max(1, Math.hypot(x1 - x0, y1 - y0)),
    };
  }
}
