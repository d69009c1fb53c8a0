// A block of voxels, fetched once, and the ways of going through it.

export async function fetchBlock(address, Kind) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return new Kind(await response.arrayBuffer());
}

// One plane: slices, rows and columns are axes of the block, maybe backwards. Where
// slices of the block are missing, the other planes show their places empty.
export class View {
  constructor(shape, { plane, order, flipped, spacing_mm: spacing, edges }, places = null) {
    const strides = [shape[1] * shape[2], shape[2], 1];
    this.plane = plane;
    this.edges = edges;
    this.spacing = spacing;
    this.order = order;
    this.flipped = flipped;
    // What lies at each step along this view's axes: a place on the block's axis.
    this.steps = order.map((axis, at) => {
      const along = axis === 0 && at > 0 && places;
      const steps = along || Array.from({ length: shape[axis] }, (_, index) => index);
      return flipped[at] ? [...steps].reverse() : steps;
    });
    [this.count, this.rows, this.columns] = this.steps.map((steps) => steps.length);
    // How far into the block each step leads; -1 where nothing lies.
    [this.sliceAt, this.rowAt, this.columnAt] = this.steps.map((steps, at) =>
      Int32Array.from(steps, (step) => (step === null ? -1 : step * strides[order[at]])),
    );
  }

  // Height over width of a picture, with true proportions.
  get aspect() {
    const [down, across] = this.spacing ?? [1, 1];
    return (this.rows * down) / (this.columns * across);
  }

  // [slice, row, column] of this view for a [slice, row, column] of the block.
  fromBlock(position) {
    return this.order.map((axis, at) => this.steps[at].indexOf(position[axis]));
  }

  toBlock(place) {
    const position = [0, 0, 0];
    this.order.forEach((axis, at) => {
      position[axis] = nearest(this.steps[at], place[at]);
    });
    return position;
  }
}

// The step at a place, or the nearest one where something lies.
function nearest(steps, place) {
  const at = Math.min(steps.length - 1, Math.max(0, Math.round(place)));
  for (let off = 0; off < steps.length; off += 1) {
    const step = steps[at - off] ?? steps[at + off];
    if (step !== null && step !== undefined) return step;
  }
  return 0;
}
