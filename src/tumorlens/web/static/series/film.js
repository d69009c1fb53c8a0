// Small pictures of a series' slices, evenly spread, each a way to its slice.

import { paintSlice } from "./paint.js";

const MOST = 12;
const SIDE = 72;

export function showFilm(list, view, state, source) {
  if (view.count < 3) return;
  const count = Math.min(MOST, view.count);
  const large = document.createElement("canvas");
  large.width = view.columns;
  large.height = view.rows;
  const paper = large.getContext("2d", { alpha: false });
  const image = paper.createImageData(view.columns, view.rows);
  const pixels = new Uint32Array(image.data.buffer);
  const buttons = Array.from({ length: count }, (_, at) => {
    // In the middle of its share of the series.
    const slice = Math.floor(((at + 0.5) * view.count) / count);
    paintSlice(pixels, view, slice, { ...source, evidence: null });
    paper.putImageData(image, 0, 0);
    const small = document.createElement("canvas");
    const scale = SIDE / Math.max(1, view.aspect);
    small.width = Math.round(scale);
    small.height = Math.round(scale * view.aspect);
    small.getContext("2d").drawImage(large, 0, 0, small.width, small.height);
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Slice ${slice + 1}`);
    button.append(small, String(slice + 1));
    button.addEventListener("click", () => state.goTo(view, slice));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
    return [button, slice];
  });
  state.listen(() => {
    const [now] = view.fromBlock(state.position);
    const nearest = buttons.reduce((one, other) =>
      Math.abs(other[1] - now) < Math.abs(one[1] - now) ? other : one,
    );
    for (const entry of buttons) {
      entry[0].setAttribute("aria-pressed", entry === nearest);
      // One stop for the Tab key: by keys, slices are gone through in the picture.
      entry[0].tabIndex = entry === nearest ? 0 : -1;
    }
  });
  state.changed();
}
