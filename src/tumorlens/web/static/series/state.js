// What all parts of the viewer share, and one redraw a frame however much changes.

export class State {
  constructor(facts) {
    this.position = facts.first;
    this.shape = facts.shape;
    this.tool = "scroll";
    this.layout = "0";
    [this.low, this.high] = facts.stored ?? facts.auto;
    this.evidence = false;
    this.opacity = 0.6;
    this.rulers = [];
    this.listeners = [];
    this.waiting = false;
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  changed() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      for (const listener of this.listeners) listener();
    });
  }

  moveTo(position) {
    this.position = position.map((at, axis) =>
      Math.min(this.shape[axis] - 1, Math.max(0, Math.round(at))),
    );
    this.changed();
  }

  // Go to a slice of a view; the other two coordinates stay.
  goTo(view, slice) {
    const [axis] = view.order;
    const place = Math.min(view.count - 1, Math.max(0, slice));
    const position = [...this.position];
    position[axis] = view.flipped[0] ? view.count - 1 - place : place;
    this.moveTo(position);
  }
}
