// What the keys do on a picture.

import { finishRuler } from "./ruler.js";

const PAGE = 10;
export const ZOOM_STEP = 1.25;
const PAN_SHARE = 0.125;

export function steerByKeys(pane, state, step, addRuler) {
  const { canvas, view } = pane;

  const pan = (across, down) => {
    const [width, height] = pane.lens.pane;
    pane.panBy(across * PAN_SHARE * width, down * PAN_SHARE * height);
  };
  const moves = {
    ArrowDown: () => step(1),
    ArrowRight: () => step(1),
    ArrowUp: () => step(-1),
    ArrowLeft: () => step(-1),
    PageDown: () => step(PAGE),
    PageUp: () => step(-PAGE),
    Home: () => state.goTo(view, 0),
    End: () => state.goTo(view, view.count - 1),
    "+": () => pane.zoomBy(ZOOM_STEP),
    "=": () => pane.zoomBy(ZOOM_STEP),
    "-": () => pane.zoomBy(1 / ZOOM_STEP),
    0: () => pane.resetZoom(),
    Enter: () => markPoint(),
    Escape: () => {
      pane.pending = null;
      state.changed();
    },
  };
  // The window goes the way of the arrow, and the picture the other.
  const pans = {
    ArrowDown: () => pan(0, -1),
    ArrowUp: () => pan(0, 1),
    ArrowRight: () => pan(-1, 0),
    ArrowLeft: () => pan(1, 0),
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const move = (event.shiftKey && pans[event.key]) || moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  });

  // By keyboard a ruler goes from one crosshair to the next, in one slice.
  function markPoint() {
    if (state.tool !== "measure") return;
    const [slice, row, column] = view.fromBlock(state.position);
    if (pane.pending && pane.pending.slice === slice) {
      finishRuler(pane, [row, column], addRuler);
    } else {
      pane.pending = { view, slice, from: [row, column], to: [row, column] };
    }
    state.changed();
  }
}
