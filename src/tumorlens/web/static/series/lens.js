// Which part of a picture its pane shows, and how large: zoom and pan.

export const MOST_ZOOM = 16;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class Lens {
  constructor() {
    this.pane = [1, 1];
    this.picture = [1, 1];
    this.reset();
  }

  // Zoom 1 fits the picture; `middle` is its point in the pane's middle, as shares.
  reset() {
    this.zoom = 1;
    this.middle = [0.5, 0.5];
  }

  // Width and height of the pane, and of the picture where it just fits.
  resize(pane, picture) {
    this.pane = pane;
    this.picture = picture;
    this.hold();
  }

  // What lies under `spot`, in pixels from the pane's middle, stays there.
  zoomBy(factor, spot) {
    const zoom = clamp(this.zoom * factor, 1, MOST_ZOOM);
    const gained = 1 / this.zoom - 1 / zoom;
    this.middle = this.middle.map((at, axis) => at + (spot[axis] / this.picture[axis]) * gained);
    this.zoom = zoom;
    this.hold();
  }

  moveBy(step) {
    this.middle = this.middle.map(
      (at, axis) => at - step[axis] / (this.picture[axis] * this.zoom),
    );
    this.hold();
  }

  // No edge of the picture comes further in than the pane's.
  hold() {
    this.middle = this.middle.map((at, axis) => {
      const room = Math.min(0.5, this.pane[axis] / (2 * this.picture[axis] * this.zoom));
      return clamp(at, room, 1 - room);
    });
  }

  // How far the picture's own middle lies from the pane's, in pixels.
  get offset() {
    return this.middle.map((at, axis) => (0.5 - at) * this.picture[axis] * this.zoom);
  }

  // Where in the pane a point of the picture lies, given as shares.
  place(shares) {
    return shares.map(
      (at, axis) =>
        this.pane[axis] / 2 + (at - this.middle[axis]) * this.picture[axis] * this.zoom,
    );
  }
}
