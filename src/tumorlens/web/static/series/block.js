// A block of voxels, fetched once, and the ways of going through it.

export async function fetchBlock(address, Kind) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return new Kind(await response.arrayBuffer());
}

// One plane: slices, rows and columns are axes of the block, maybe backwards.
export class View {
  constructor(shape, { plane, order, flipped, spacing_mm: spacing, edges }) {
    const strides = [shape[1] * shape[2], shape[2], 1];
    this.plane = plane;
    this.edges = edges;
    this.spacing = spacing;
    this.order = order;
    this.flipped = flipped;
    [this.count, this.rows, this.columns] = order.map((axis) => shape[axis]);
    [this.sliceStep, this.rowStep, this.columnStep] = order.map((axis, at) =>
      flipped[at] ? -strides[axis] : strides[axis],
    );
    this.base = order.reduce(
      (sum, axis, at) => sum + (flipped[at] ? (shape[axis] - 1) * strides[axis] : 0),
      0,
    );
  }

  // Height over width of a picture, with true proportions.
  get aspect() {
    const [down, across] = this.spacing ?? [1, 1];
    return (this.rows * down) / (this.columns * across);
  }

  // [slice, row, column] of this view for a [slice, row, column] of the block.
  fromBlock(position) {
    const sizes = [this.count, this.rows, this.columns];
    return this.order.map((axis, at) =>
      this.flipped[at] ? sizes[at] - 1 - position[axis] : position[axis],
    );
  }

  toBlock(place) {
    const sizes = [this.count, this.rows, this.columns];
    const position = [0, 0, 0];
    this.order.forEach((axis, at) => {
      position[axis] = this.flipped[at] ? sizes[at] - 1 - place[at] : place[at];
    });
    return position;
  }
}
