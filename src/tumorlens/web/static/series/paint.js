// From voxels to colours: a table of greys for the window, and one of evidence.

// Grey, 0 to 255, of every stored number.
export function greyTable(low, high, length = 65536) {
  const table = new Uint8ClampedArray(length);
  const scale = 255 / Math.max(1e-6, high - low);
  for (let value = 0; value < length; value += 1) table[value] = (value - low) * scale;
  return table;
}

// Paint a slice of a view into pixels (RGBA in one 32-bit number each).
export function paintSlice(pixels, view, slice, { voxels, greys, evidence, opacity, colors }) {
  const { rowAt, columnAt } = view;
  const start = view.sliceAt[slice];
  const shown = evidence !== null && opacity > 0;
  let at = 0;
  for (const down of rowAt) {
    for (const across of columnAt) {
      // Black where a slice is missing.
      if (down < 0 || across < 0) {
        pixels[at] = 0xff000000;
        at += 1;
        continue;
      }
      const from = start + down + across;
      const grey = greys[voxels[from]];
      const heat = shown ? evidence[from] : 0;
      if (heat === 0) {
        pixels[at] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
        at += 1;
        continue;
      }
      // Where there is little evidence the picture shows through.
      const share = (heat / 255) * opacity;
      const red = grey + (colors[3 * heat] - grey) * share;
      const green = grey + (colors[3 * heat + 1] - grey) * share;
      const blue = grey + (colors[3 * heat + 2] - grey) * share;
      pixels[at] = 0xff000000 | (blue << 16) | (green << 8) | red;
      at += 1;
    }
  }
}
