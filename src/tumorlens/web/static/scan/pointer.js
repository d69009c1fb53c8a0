// What wheel, keys and pointer do on a picture.

const SMALL_WHEEL = 50;
const WHEEL_PIXELS = 24;
const PAGE = 10;
const CLICK_PIXELS = 4;
const SHORTEST_RULER = 1;

export function steer(pane, state, { setWindow, addRuler }) {
  const { canvas, view } = pane;
  let wheeled = 0;
  let drag = null;

  const step = (count) => state.goTo(view, pane.slice + count);

  canvas.addEventListener(
    "wheel",
    (event) => {
      // Pinching a touch pad zooms the page, as everywhere.
      if (event.ctrlKey) return;
      event.preventDefault();
      const { deltaY, deltaMode } = event;
      if (deltaMode !== 0 || Math.abs(deltaY) >= SMALL_WHEEL) {
        wheeled = 0;
        step(Math.sign(deltaY));
        return;
      }
      wheeled += deltaY;
      const whole = Math.trunc(wheeled / WHEEL_PIXELS);
      wheeled -= whole * WHEEL_PIXELS;
      if (whole !== 0) step(whole);
    },
    { passive: false },
  );

  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = {
      ArrowDown: () => step(1),
      ArrowRight: () => step(1),
      ArrowUp: () => step(-1),
      ArrowLeft: () => step(-1),
      PageDown: () => step(PAGE),
      PageUp: () => step(-PAGE),
      Home: () => state.goTo(view, 0),
      End: () => state.goTo(view, view.count - 1),
      Enter: () => markPoint(),
      Escape: () => {
        pane.pending = null;
        state.changed();
      },
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  });

  // By keyboard a ruler goes from one crosshair to the next, in one slice.
  function markPoint() {
    if (state.tool !== "measure") return;
    const [slice, row, column] = view.fromBlock(state.position);
    if (pane.pending && pane.pending.slice === slice) {
      finishRuler([row, column]);
    } else {
      pane.pending = { view, slice, from: [row, column], to: [row, column] };
      state.changed();
    }
  }

  function finishRuler(to) {
    const ruler = { ...pane.pending, to };
    pane.pending = null;
    const moved = Math.hypot(ruler.to[0] - ruler.from[0], ruler.to[1] - ruler.from[1]);
    if (moved >= SHORTEST_RULER) addRuler(ruler);
    state.changed();
  }

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("pointerdown", (event) => {
    if (drag || event.button === 1) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    const tool = event.button === 2 ? "window" : state.tool;
    drag = {
      id: event.pointerId,
      tool,
      x: event.clientX,
      y: event.clientY,
      slice: pane.slice,
      low: state.low,
      high: state.high,
      moved: false,
    };
    if (tool === "measure") {
      const place = pane.under(event);
      pane.pending = { view, slice: pane.slice, from: place, to: place };
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.id) return;
    const dx = event.clientX - drag.x;
    const dy = event.clientY - drag.y;
    if (Math.hypot(dx, dy) >= CLICK_PIXELS) drag.moved = true;
    if (!drag.moved) return;
    if (drag.tool === "window") setWindow(drag, dx, dy, canvas.clientWidth);
    if (drag.tool === "scroll") {
      // The whole series lies within the picture's height, but a slice is never
      // less than a few pixels.
      const pixels = Math.max(3, Math.min(12, canvas.clientHeight / view.count));
      state.goTo(view, drag.slice + Math.round(dy / pixels));
    }
    if (drag.tool === "measure" && pane.pending) {
      pane.pending.to = pane.under(event);
      state.changed();
    }
  });

  function end(event) {
    if (!drag || event.pointerId !== drag.id) return;
    const { tool, moved } = drag;
    drag = null;
    if (tool === "measure" && pane.pending) {
      if (event.type === "pointerup" && moved) finishRuler(pane.under(event));
      else pane.pending = null;
    }
    const clicked = event.type === "pointerup" && !moved && tool !== "window";
    if (clicked) {
      const [row, column] = pane.under(event);
      state.moveTo(view.toBlock([pane.slice, Math.round(row), Math.round(column)]));
    }
    state.changed();
  }
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}
